"""Write docs/reference/scikit-learn.md: which estimators can be packed, measured here.

``--check`` writes nothing and exits 1 if the page is another. Takes about two minutes.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import skl2onnx
import sklearn

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "scikit-learn.md"
sys.path.insert(0, str(ROOT / "tests"))

from support.sklearn_survey import Outcome, estimators, survey  # noqa: E402 - the tests hold the survey

HEAD = """# scikit-learn: what can be packed

<!-- Written by scripts/sklearn_table.py, which packs every estimator; run it again after an upgrade. -->

Measured with scikit-learn {sklearn} and skl2onnx {skl2onnx}: every estimator that `all_estimators` lists
and that fits a small table with default parameters. *float32* and *float64* are packed bundles; each was then
asked for 50 rows that packing had not seen, through the same path as a request, and gave the estimator's own
answers within the bundle's tolerance on all of them. *refused* is a `ConversionError` and no bundle. There is
nothing between the two: **rows answered wrongly by a packed bundle: {wrong}**. (Where the estimator's own two
best classes are within the tolerance of each other, rounding decides the label, and it is not counted.)

A refusal here is about default parameters on this table; with others, or in a pipeline, the proof is made
again.

{counts}

| estimator | kind | table | outcome | why |
|---|---|---|---|---|
"""


def lines(outcomes: list[Outcome]) -> Iterator[str]:
    """Return the rows of the table."""
    for outcome in outcomes:
        facts = (outcome.name, outcome.kind, outcome.table, outcome.result, _reason(outcome.why))
        yield f"| {' | '.join(facts)} |"


def main() -> int:
    """Survey, and write or compare the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    arguments = parser.parse_args()
    outcomes, unfit = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, kind, estimator in estimators():
            print(name, file=sys.stderr)
            outcome = survey(name, kind, estimator, Path(folder))
            if outcome is None:
                unfit.append(name)
            else:
                outcomes.append(outcome)
    text = page(outcomes, unfit)
    if arguments.check:
        return 0 if PAGE.read_text() == text else 1
    PAGE.write_text(text)
    return 0


def page(outcomes: list[Outcome], unfit: list[str]) -> str:
    """Return the text of the page."""
    counts = Counter(outcome.result for outcome in outcomes)
    summary = ", ".join(f"{counts[result]} {result}" for result in ("float32", "float64", "refused"))
    head = HEAD.format(
        sklearn=sklearn.__version__,
        skl2onnx=skl2onnx.__version__,
        wrong=sum(outcome.asked.silent for outcome in outcomes),
        counts=f"{len(outcomes)} estimators: {summary}.",
    )
    reason = "since default parameters or small tables do not suit them"
    tail = f"\nNot in the table, {reason}: {', '.join(unfit)}.\n"
    return head + "\n".join(lines(outcomes)) + "\n" + tail


def _reason(why: str) -> str:
    """Shorten a refusal to what differs from line to line, without the numbers of this one run."""
    kind, _, sentence = why.partition(": ")
    reason = sentence.partition(", found ")[2] or sentence
    if kind == "ParityLost":
        reason = re.sub(r" \(.*", "", reason.split("; ")[0])
        reason = f"other answers: {re.sub(r'row [0-9]+', 'rows', reason)}"
    reason = re.sub(r" (You may raise|Non-zero status).*", "", re.sub(r"\s+", " ", reason)).replace(
        "|", "\\|"
    )
    return f"{kind}: {reason[:140]}" if why else ""


if __name__ == "__main__":
    raise SystemExit(main())
