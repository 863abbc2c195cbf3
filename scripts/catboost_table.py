"""Write docs/reference/catboost.md: which configurations of CatBoost are packed, measured here.

As boosters_table.py, whose survey it is; CatBoost has an environment of its own:
`.venv-engines/catboost/bin/python scripts/catboost_table.py`. Set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import catboost
import onnxruntime

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "catboost.md"
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

from boosters_table import TABLE, survey  # noqa: E402 - the tests hold the models

from support.catboost_models import catboost_cases  # noqa: E402

HEAD = """# CatBoost: what is packed

<!-- Written by scripts/catboost_table.py, which packs every model; run it again after an upgrade. -->

Measured with CatBoost {catboost} and ONNX Runtime {onnxruntime}: estimators, native models (`CatBoost`,
`catboost.train`), and estimators inside of scikit-learn. Each bundle was asked rows that packing had not
seen, as those of [XGBoost and LightGBM](boosters.md) were. *Refused* are rows that CatBoost answers and the
bundle refuses with 400: infinities, and numbers beyond 1e30 ([why](categories.md)).

- **Rows answered otherwise than by CatBoost, or where it raises: {silent} of {rows}.**

The trees are one operator of ONNX, made of the JSON that CatBoost saves a model as. CatBoost rounds features
to float32, so float32 inputs lose nothing. A missing value takes the side that `nan_mode` gave it. Labels
are one a row, where CatBoost gives a column of them for several classes, and its threshold
(`set_probability_threshold`) counts. An estimator that was stopped early has the trees that it kept.

Categories (`cat_features`) that splits compare one by one (`one_hot_max_size` at least their number) are
inputs of texts or of integers; any other category takes the side that it takes in CatBoost. CatBoost saves
hashes of them only, so samples have to hold each category by which the model splits.

Refused while packing, with the way out: statistics of categories (CTR: train with a larger
`one_hot_max_size`, or encode the categories in a step before), features of texts and embeddings, categories
behind another step or inside of another estimator, samples that are a `Pool` (pass the data frame), and
classes that are fractions.
"""


def main() -> int:
    """Survey, and write or compare the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    arguments = parser.parse_args()
    lines, every = survey(catboost_cases())
    silent = sum(asked.silent for asked in every)
    head = HEAD.format(
        catboost=catboost.__version__,
        onnxruntime=onnxruntime.__version__,
        silent=silent,
        rows=f"{sum(asked.rows for asked in every):,}",
    )
    text = head + TABLE.format(title="Configurations") + lines
    if not arguments.check:
        PAGE.write_text(text)
    return 1 if silent or PAGE.read_text() != text else 0


if __name__ == "__main__":
    raise SystemExit(main())
