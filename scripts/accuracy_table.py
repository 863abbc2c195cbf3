"""Estimate accuracy without labels on shifted inputs; write the table of docs/reference/monitoring.md.

    python scripts/accuracy_table.py --nannyml PYTHON     writes the table into the page
    python scripts/accuracy_table.py --print              prints it

Three data sets that scikit-learn ships are split into thirds: a model is trained on the first, the second is
the reference, the third the live rows, whose inputs are shifted. PYTHON is the interpreter of an environment
with NannyML (`pip install nannyml statsmodels`), whose CBPE estimates from the same rows beside lading;
without it, its column is empty.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lading.monitor.dispersion import Floats
from lading.monitor.estimated import Estimate, estimate_accuracy
from lading.profile import Profile
from lading.profile.live import LiveCounts
from lading.profile.measure import measure
from lading.signature import Signature, Tensor

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "monitoring.md"
COMMAND = "python scripts/accuracy_table.py --nannyml PYTHON"
SEED, SPLITS = 20261130, 15

# Runs in NannyML's environment: reads the rows of all trials, writes the estimates.
_NANNYML = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import numpy as np, pandas as pd, nannyml as nml
nml.disable_usage_logging() if hasattr(nml, "disable_usage_logging") else None
estimates = []
for name in json.load(open(sys.argv[1])):
    trial = np.load(name)
    classes = trial["reference"].shape[1]
    def frame(probabilities):
        rows = pd.DataFrame(probabilities[:, 1:2] if classes == 2 else probabilities)
        rows.columns = [f"p{i}" for i in range(rows.shape[1])]
        rows["answer"] = probabilities.argmax(axis=1)
        return rows
    reference = frame(trial["reference"])
    reference["label"] = trial["labels"]
    problem = "classification_binary" if classes == 2 else "classification_multiclass"
    scores = "p0" if classes == 2 else {i: f"p{i}" for i in range(classes)}
    live = frame(trial["live"])
    try:
        estimator = nml.CBPE(problem_type=problem, y_pred_proba=scores, y_pred="answer", y_true="label",
                             metrics=["accuracy"], chunk_size=len(live))
        result = estimator.fit(reference).estimate(live)
        estimates.append(float(result.filter(period="analysis").to_df()[("accuracy", "value")].iloc[0]))
    except Exception as error:
        print(type(error).__name__, error, file=sys.stderr)
        estimates.append(None)
json.dump(estimates, open(sys.argv[2], "w"))
"""


@dataclass(frozen=True)
class Data:
    """A data set and the model that is trained on a third of it."""

    name: str
    load: Callable[..., tuple[Floats, Floats]]
    model: Callable[[], object]


DATA = (
    Data(
        "breast cancer, logistic regression",
        load_breast_cancer,
        lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.1)),
    ),
    Data("wine, naive Bayes", load_wine, GaussianNB),
    Data(
        "digits, logistic regression",
        load_digits,
        lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300)),
    ),
)

Shift = Callable[[Floats, Floats, np.random.Generator], Floats]


def _fewer_sure(rows: Floats, confidence: Floats, rng: np.random.Generator) -> Floats:
    """Return half of the rows, those that the model is unsure of three times as often."""
    weights = np.where(confidence <= np.median(confidence), 3.0, 1.0)
    return rows[rng.choice(len(rows), len(rows) // 2, replace=False, p=weights / weights.sum())]


def _noise(size: float) -> Shift:
    return lambda rows, _, rng: rows + size * rows.std(axis=0) * rng.normal(size=rows.shape)


def _scaled(rows: Floats, *_: object) -> Floats:
    return rows * 1.2


def _without(rows: Floats, _: Floats, rng: np.random.Generator) -> Floats:
    """Return rows in which a third of the columns have their mean."""
    columns = rng.choice(rows.shape[1], rows.shape[1] // 3, replace=False)
    changed = rows.copy()
    changed[:, columns] = rows[:, columns].mean(axis=0)
    return changed


SHIFTS: dict[str, Shift] = {
    "none": lambda rows, *_: rows,
    "more rows that the model is unsure of": _fewer_sure,
    "noise of 0.5 sd": _noise(0.5),
    "noise of 1 sd": _noise(1.0),
    "all inputs × 1.2": _scaled,
    "a third of the columns constant": _without,
}


@dataclass
class Trial:
    """One split and shift: what is true, what lading estimates, and the rows for others."""

    data: str
    shift: str
    reference_accuracy: float
    accuracy: float
    estimate: Estimate
    reference: Floats  # probabilities
    labels: Floats
    live: Floats
    other: float | None = None


def trials(splits: int = SPLITS, seed: int = SEED) -> list[Trial]:
    """Train, shift and estimate, for every data set, split and shift."""
    return [
        trial
        for number, data in enumerate(DATA)
        for split in range(splits)
        for trial in _split(data, np.random.default_rng([seed, number, split]))
    ]


def _split(data: Data, rng: np.random.Generator) -> list[Trial]:
    rows, labels = data.load(return_X_y=True)
    train, reference, live = np.array_split(rng.permutation(len(rows)), 3)
    model = data.model().fit(rows[train], labels[train])
    base = model.predict_proba(rows[reference])
    right = base.argmax(axis=1) == labels[reference]
    classes = base.shape[1]
    output = Tensor(name="probabilities", dtype="float64", shape=("batch", classes))
    signature = Signature((Tensor(name="x", dtype="float64", shape=("batch", rows.shape[1])),), (output,))
    profile = measure(signature, {}, {"probabilities": base}, right=right)
    result = []
    for name, shift in SHIFTS.items():
        confidence = model.predict_proba(rows[live]).max(axis=1)
        # The labels go along as one more column, which no shift changes.
        shifted = shift(np.column_stack([rows[live], labels[live]]), confidence, rng)
        answers = model.predict_proba(shifted[:, :-1])
        known = shifted[:, -1]
        if len(known) == len(live):
            known = labels[live]
        estimate = _estimate(profile, signature, answers)
        accuracy = float((answers.argmax(axis=1) == known).mean())
        trial = Trial(
            data.name, name, float(right.mean()), accuracy, estimate, base, labels[reference], answers
        )
        result.append(trial)
    return result


def _estimate(profile: Profile, signature: Signature, answers: Floats) -> Estimate:
    live = LiveCounts(profile, signature)
    live.add({}, {"probabilities": answers}, len(answers))
    at = next(at for at, column in enumerate(profile) if column.summary == "confidence")
    estimate = estimate_accuracy(profile.calibration, live.drain()[at])
    assert estimate is not None
    return estimate


def ask_nannyml(python: str, results: Sequence[Trial]) -> None:
    """Let NannyML estimate the accuracy of the same rows."""
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for number, trial in enumerate(results):
            names.append(f"{folder}/{number}.npz")
            np.savez(names[-1], reference=trial.reference, labels=trial.labels, live=trial.live)
        asked, answered = Path(folder, "asked.json"), Path(folder, "answered.json")
        asked.write_text(json.dumps(names), encoding="utf-8")
        subprocess.run([python, "-c", _NANNYML, str(asked), str(answered)], check=True)
        for trial, value in zip(results, json.loads(answered.read_text(encoding="utf-8")), strict=True):
            trial.other = value


def table(results: Sequence[Trial]) -> str:
    """Write means over the splits as a table in Markdown."""
    columns = (
        "data and model | shift | true accuracy | reference | lading's estimate | mean error | "
        "in the interval of 95 % | NannyML's CBPE | mean error"
    )
    lines = [f"| {columns} |", "|---|---|--:|--:|--:|--:|--:|--:|--:|"]
    for data in DATA:
        for shift in SHIFTS:
            cell = [trial for trial in results if (trial.data, trial.shift) == (data.name, shift)]
            others = [(trial.other, trial.accuracy) for trial in cell if trial.other is not None]
            covered = [trial.estimate.low <= trial.accuracy <= trial.estimate.high for trial in cell]
            lines.append(
                f"| {data.name} | {shift} | {_mean(trial.accuracy for trial in cell)} "
                f"| {_mean(trial.reference_accuracy for trial in cell)} "
                f"| {_mean(trial.estimate.accuracy for trial in cell)} "
                f"| {_mean(abs(trial.estimate.accuracy - trial.accuracy) for trial in cell)} "
                f"| {100 * np.mean(covered):.0f} % "
                f"| {_mean(value for value, _ in others)} "
                f"| {_mean(abs(value - true) for value, true in others)} |"
            )
    return "\n".join(lines)


def _mean(values: Iterable[float]) -> str:
    numbers = list(values)
    return f"{np.mean(numbers):.3f}" if numbers else "–"


def marked(rows: str, splits: int) -> str:
    """Put the table between the comments that mark its place in the page."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {datetime.now(UTC):%Y-%m-%d}"
    begin = f"<!-- accuracy: made by `{COMMAND}`: seed {SEED}, {splits} splits a line; {machine} -->"
    return f"{begin}\n{rows}\n<!-- end of accuracy -->"


def main() -> int:
    """Estimate, and write or print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nannyml", metavar="PYTHON", help="the interpreter of an environment with NannyML")
    parser.add_argument("--print", action="store_true", help="print the table, change nothing")
    parser.add_argument("--splits", type=int, default=SPLITS)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    results = trials(arguments.splits)
    if arguments.nannyml:
        ask_nannyml(arguments.nannyml, results)
    rows = table(results)
    if arguments.print:
        print(rows)
        return 0
    text = PAGE.read_text(encoding="utf-8")
    pattern = re.compile(r"<!-- accuracy: made by .*?<!-- end of accuracy -->", re.DOTALL)
    PAGE.write_text(pattern.sub(lambda _: marked(rows, arguments.splits), text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
