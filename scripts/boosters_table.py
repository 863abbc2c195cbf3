"""Write docs/reference/boosters.md: which configurations of XGBoost and LightGBM are packed, measured here.

Each is trained, packed and asked rows that packing never saw, and so is its framework. Exits 1 if a bundle
answered otherwise, or where the framework raises. ``--check`` writes nothing and exits 1 if the page is
another as well. Set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path

import lightgbm
import onnxruntime
import xgboost

from lading.errors import ConversionError

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "boosters.md"
sys.path.insert(0, str(ROOT / "tests"))

from support.booster_models import (  # noqa: E402 - the tests hold the models
    Case,
    lightgbm_cases,
    pack_and_ask,
    xgboost_cases,
)
from support.sklearn_asking import Asked  # noqa: E402

HEAD = """# XGBoost and LightGBM: what is packed

<!-- Written by scripts/boosters_table.py, which packs every model; run it again after an upgrade. -->

Measured with XGBoost {xgboost}, LightGBM {lightgbm} and ONNX Runtime {onnxruntime}: estimators, native
boosters, and estimators inside of scikit-learn. Each bundle was asked rows that packing had not seen, by the
path of a request: rows held out, missing values in each column alone and in several, infinities, sizes far
from training's, and the two neighbouring float32 rows between which a prediction changes. *Refused* are rows
that the framework answers and the bundle refuses with 400: infinities, and numbers beyond 1e30
([why](categories.md)).

- **Rows answered otherwise than by the framework, or where it raises: {silent} of {rows}.**

The trees are one operator of ONNX, made of what the framework itself saves (`save_raw("json")`,
`model_to_string()`); sums are float64. An estimator predicts with its best iteration if it was stopped early,
a native booster as its own `predict` does. XGBoost rounds features to float32, so float32 inputs lose
nothing. LightGBM compares them in float64, so its models have float64 inputs, unless the samples were of
float32 or no drawn row showed a difference.

Columns of categories of a data frame (`dtype="category"`) are inputs of texts or of whole numbers; the bundle
has the categories of training, and the empty text stands for a missing one. LightGBM takes an unknown
category for a missing one. XGBoost 3.2 raises for some unknown categories, and answers others as the next
larger category that it knows: the bundle refuses all of them, so more rows are refused there.

Refused while packing, with the way out: categories of a data frame behind another step than a
ColumnTransformer that passes them through (with `set_output(transform="pandas")`), or inside of another
estimator (encode them with `OrdinalEncoder` in a step before, and name the columns), and those outside ASCII
in XGBoost, which cuts them; `linear_tree` of LightGBM, `binary:logitraw` of XGBoost's classifier and
objectives of one's own in LightGBM's (their probabilities are scores), and objectives that the converter
does not know, by their name.
"""
TABLE = """
## {title}

| model | numbers | rows asked | otherwise | refused |
|---|---|--:|--:|--:|
"""


def main() -> int:
    """Survey, and write or compare the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    arguments = parser.parse_args()
    parts, every = [], []
    for title, cases in (("XGBoost", xgboost_cases()), ("LightGBM", lightgbm_cases())):
        lines, asked = survey(cases)
        parts.append(TABLE.format(title=title) + lines)
        every += asked
    head = HEAD.format(
        xgboost=xgboost.__version__,
        lightgbm=lightgbm.__version__,
        onnxruntime=onnxruntime.__version__,
        silent=sum(asked.silent for asked in every),
        rows=f"{sum(asked.rows for asked in every):,}",
    )
    text = head + "".join(parts)
    if not arguments.check:
        PAGE.write_text(text)
    return 1 if any(asked.silent for asked in every) or PAGE.read_text() != text else 0


def survey(cases: Iterable[Case]) -> tuple[str, list[Asked]]:
    """Return the lines of a table, and what was asked."""
    lines, every = "", []
    for name, train in cases:
        print(name, file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what frameworks say of names, gaps and settings
            trained = train()
            try:
                bundle, asked = pack_and_ask(trained, Path(folder))
            except ConversionError as error:
                lines += f"| {name} | refused: {error.message[:120]} | | | |\n"
                continue
        dtypes = {tensor.dtype for tensor in bundle.manifest.signature.inputs}
        dtype = next((dtype for dtype in sorted(dtypes) if dtype.startswith("float")), "none")
        for kind, example in asked.examples.items():
            print(f"  {kind}: {example[:300]}", file=sys.stderr)
        lines += f"| {name} | {dtype} | {asked.rows} | {asked.silent} | {asked.refused} |\n"
        every.append(asked)
    return lines, every


if __name__ == "__main__":
    raise SystemExit(main())
