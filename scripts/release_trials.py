"""Try releases: 200 bad candidates of ten kinds and 200 equal ones, each a canary with drawn traffic.

    python scripts/release_trials.py                writes the table of docs/reference/verdict.md
    python scripts/release_trials.py --print        prints it
    python scripts/release_trials.py --trials 20    fewer of each
    python scripts/release_trials.py --callers 40 --print    callers that are distinguished by group

Live models are packed and loaded; equal candidates are estimators fitted again. Their answers to real rows
pass through what a server counts, names and compares (`Windows`, `OutputNames`), and each second through
`judge` and `decide`, as the driver does. Each trial draws what its callers ask for. Opens no socket: that
each predict route is counted in this way has a test of its own.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lading import Bundle, pack
from lading.release import Plan, Release, begin, changed
from lading.rollout.moves import decide
from lading.server.inference.version import ServedVersion, State
from lading.server.loading.loader import prepare
from lading.server.observe.shadow import PAIR_EVERY_S
from lading.server.observe.windows import Windows
from lading.traffic import CALLER_GROUPS, Window
from lading.verdict import judge

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "verdict.md"
COMMAND = "python scripts/release_trials.py"
SEED, TRIALS, SECONDS = 20261128, 200, 240
START = 1_000_000.0
Outputs = dict[str, Any]

BAD = (
    "answers of other rows",
    "one answer for all rows",
    "classes permuted, values mirrored",
    "two classes swapped, values scaled",
    "a third of the rows wrong",
    "permuted from the second step on",
    "3 % more errors",
    "refuses 5 % of the requests",
    "2.5 times as slow",
    "4 % of the clients give up",
)
EQUAL = ("the same model", "fitted on other rows", "another estimator", "10 % slower", "errors like live's")


@dataclass(frozen=True)
class Family:
    """A live model, its answers to a pool of rows, those of equal models, and what callers may ask for."""

    live: ServedVersion
    answers: Outputs
    refitted: Outputs
    other: Outputs
    truth: tuple[str, ...]
    asks: tuple[tuple[str, ...], ...]


@dataclass
class Side:
    """How one side of a release answers."""

    served: ServedVersion
    answers: Outputs
    error: float = 0.002
    slowdown: float = 1.0
    errors: tuple[str, ...] = ("RunFailed",)


@dataclass
class Trial:
    """One release: what callers ask for, how many they are, and how many send feedback."""

    family: Family
    asked: tuple[str, ...]
    rate: float
    rows: int
    rated: float
    live: Side
    candidate: Side
    later: Outputs | None = None  # the candidate's answers from the second step on
    kind: str = ""
    callers: tuple[int, ...] = ()  # the group of each; none: not distinguished
    windows: Windows = field(default_factory=lambda: Windows("a"))

    def caller(self, rng: np.random.Generator) -> int:
        """Draw who asks; return the group."""
        return self.callers[rng.integers(len(self.callers))] if self.callers else -1


def families(folder: Path) -> list[Family]:
    """Fit, pack and load the live models."""
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
    from sklearn.svm import LinearSVC

    iris, cancer, diabetes = (
        load(return_X_y=True) for load in (load_iris, load_breast_cancer, load_diabetes)
    )
    scaled = ((cancer[0] - cancer[0].mean(0)) / cancer[0].std(0), cancer[1])
    logistic = LogisticRegression(max_iter=1000)
    by_class = (("label",), ("probabilities",), ("label", "probabilities"))
    made = [
        _family(folder / "a", iris, logistic, RandomForestClassifier(random_state=0), by_class),
        _family(
            folder / "b", scaled, logistic, RandomForestClassifier(max_depth=4, random_state=0), by_class
        ),
        _family(folder / "c", scaled, LinearSVC(C=0.1), LinearSVC(C=0.02), (("label",), ("scores",))),
        _family(folder / "d", diabetes, Ridge(0.01), LinearRegression(), (("value",),)),
    ]
    return [*made, _two_outputs(folder / "e")]


def _family(
    folder: Path, data: tuple[Any, Any], live: Any, other: Any, asks: tuple[tuple[str, ...], ...]
) -> Family:
    from sklearn.base import clone

    rows, truth = data[0].astype(np.float32), data[1]
    some = np.random.default_rng(1).permutation(len(rows))[: len(rows) * 4 // 5]
    bundle = pack(live.fit(rows, truth), name="model", samples=rows, owner="trials", to=folder)
    estimators = (live, clone(live).fit(rows[some], truth[some]), other.fit(rows, truth))
    answers = [_answers(estimator, rows) for estimator in estimators]
    return Family(_loaded(bundle), *answers, tuple(map(str, truth.tolist())), asks)


def _answers(estimator: Any, rows: Any) -> Outputs:
    if not hasattr(estimator, "classes_"):
        return {"value": estimator.predict(rows).astype(np.float32).reshape(-1, 1)}
    outputs = {"label": estimator.predict(rows)}
    if hasattr(estimator, "predict_proba"):
        return outputs | {"probabilities": estimator.predict_proba(rows).astype(np.float32)}
    return outputs | {"scores": estimator.decision_function(rows).astype(np.float32)}


def _two_outputs(folder: Path) -> Family:
    """Make a model of two outputs, of which callers may ask for one."""
    import onnx.parser

    text = """<ir_version: 8, opset_import: ["" : 17]>
        two (float[batch, 2] x) => (float[batch, 1] left, float[batch, 1] right)
        <float[2, 1] l = {1.0, 0.3}, float[2, 1] r = {-0.2, 1.0}>
        { left = MatMul(x, l)  right = MatMul(x, r) }"""
    path = folder.with_suffix(".onnx")
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    rows = np.random.default_rng(2).normal(size=(400, 2)).astype(np.float32)
    bundle = pack(path, name="model", samples=rows[:100], owner="trials", to=folder)
    answers = {"left": rows @ [[1.0], [0.3]], "right": rows @ [[-0.2], [1.0]]}
    near = {name: values * 1.02 + 0.02 for name, values in answers.items()}
    truth = tuple("" for _ in rows)
    return Family(_loaded(bundle), answers, near, near, truth, (("left",), ("right",), ("left", "right")))


def _loaded(bundle: Bundle) -> ServedVersion:
    served = ServedVersion("model", 1, bundle.digest)
    prepare(served, bundle, threads=1)
    served.advance(State.READY)
    return served


def trial_of(known: list[Family], kind: str, rng: np.random.Generator) -> Trial:
    """Draw a trial of one kind."""
    family = known[rng.integers(len(known))]
    asked = family.asks[rng.integers(len(family.asks))]
    candidate = ServedVersion("model", 2, "sha256:candidate")
    candidate.adopt(family.live.model)
    side = Side(candidate, family.answers)
    trial = Trial(
        family,
        asked,
        rate=float(rng.uniform(60, 400)),
        rows=int(rng.choice([1, 1, 4])),
        rated=float(rng.choice([0.0, 0.2])),
        live=Side(family.live, family.answers),
        candidate=side,
        kind=kind,
    )
    _make_as(kind, trial, rng)
    return trial


def _make_as(kind: str, trial: Trial, rng: np.random.Generator) -> None:
    side, family = trial.candidate, trial.family
    n = len(family.truth)
    wrong: dict[str, Callable[[], Outputs]] = {
        "answers of other rows": lambda: _taken(family.answers, rng.permutation(n)),
        "one answer for all rows": lambda: _taken(family.answers, np.full(n, rng.integers(n))),
        "classes permuted, values mirrored": lambda: permuted(family, swap=False),
        "two classes swapped, values scaled": lambda: permuted(family, swap=True),
        "a third of the rows wrong": lambda: _partly(family.answers, permuted(family, swap=False), rng),
        "fitted on other rows": lambda: family.refitted,
        "another estimator": lambda: family.other,
    }
    if kind in wrong:
        side.answers = wrong[kind]()
    elif kind == "permuted from the second step on":
        trial.later = permuted(family, swap=False)
    elif kind == "3 % more errors":
        side.error += 0.03
    elif kind == "refuses 5 % of the requests":
        side.error, side.errors = 0.052, ("ValueRefused",)
    elif kind == "4 % of the clients give up":
        side.error, side.errors = 0.042, ("ClientGone",)
    elif kind in ("2.5 times as slow", "10 % slower"):
        side.slowdown = 2.5 if kind.startswith("2.5") else 1.1


def permuted(family: Family, *, swap: bool) -> Outputs:
    """Return answers with other classes for the same rows; values are mirrored, or with `swap` scaled."""
    answers = family.answers
    if "label" not in answers:
        name = family.asks[-1][-1]  # Of two outputs, one is wrong: callers may or may not ask for it.
        middle = np.median(answers[name])
        return answers | {name: 3 * answers[name] - 2 * middle if swap else 2 * middle - answers[name]}
    classes = int(answers["label"].max()) + 1
    to = np.roll(np.arange(classes), 1)
    if swap:
        to = np.array([1, 0, *range(2, classes)])
    outputs: Outputs = {"label": to[answers["label"]]}
    if "scores" in answers:
        return outputs | {"scores": -answers["scores"]}
    return outputs | {"probabilities": answers["probabilities"][:, np.argsort(to)]}


def _taken(answers: Outputs, rows: Any) -> Outputs:
    return {name: array[rows] for name, array in answers.items()}


def _partly(answers: Outputs, wrong: Outputs, rng: np.random.Generator) -> Outputs:
    chosen = rng.random(len(next(iter(answers.values())))) < 1 / 3
    return {
        name: np.where(chosen.reshape(-1, *[1] * (array.ndim - 1)), wrong[name], array)
        for name, array in answers.items()
    }


def run(trial: Trial, rng: np.random.Generator) -> Release:
    """Let the release run until it ends, or for `SECONDS`; return it as it is then."""
    live = begin(None, "model", 1, Plan(mode="live"), actor="a", at="", runtime=None)
    plan = Plan(mode="canary", steps=(20, 50, 100), hold_s=5, min_requests=100)
    release, step_began = begin(live, "model", 2, plan, actor="a", at="", runtime=None), START
    sides: tuple[list[Window], list[Window]] = ([], [])
    trial.windows.live_of = lambda _name: trial.family.live
    trial.windows.rotate(START, last=True)
    for second in range(SECONDS):
        now = START + second + 1
        if trial.later is not None and release.step > 0:
            trial.candidate.answers, trial.later = trial.later, None
        _second(trial, release.weight_percent / 100, rng)
        trial.windows.rotate(now, last=True)
        for window in trial.windows.drain():
            sides[window.version - 1].append(window)
        verdict = judge(plan.gates, *sides, now, step_began, plan)
        move = decide(release, verdict, "driver")
        if move is not None:
            step = release.step
            release = changed(release, move.changes, "")
            step_began = now if release.step != step else step_began
        if not release.is_open:
            break
    return release


def _second(trial: Trial, share: float, rng: np.random.Generator) -> None:
    """Let callers ask for a second, and both sides answer some of the requests."""
    for side, rate in ((trial.live, trial.rate * (1 - share)), (trial.candidate, trial.rate * share)):
        names = trial.windows.names(side.served)
        latencies = side.slowdown * 0.003 * np.exp(rng.normal(0, 0.5, rng.poisson(rate)))
        for latency_s in latencies.tolist():
            counts = trial.windows.counts(2, side.served, trial.caller(rng))
            if rng.random() < side.error:
                counts.answers.append((latency_s, None, side.errors[0]))
                continue
            rows = rng.integers(len(trial.family.truth), size=trial.rows)
            answer = {name: side.answers[name][rows] for name in trial.asked}
            counts.answers.append((latency_s, answer, ""))
            if rng.random() < trial.rated:
                output = next((name for name in names.rated if name in answer), None)
                if output is not None:
                    truth = [trial.family.truth[row] for row in rows]
                    counts.feedback += names.truths(output, answer[output], truth, 0.5)
    _compare(trial, rng)


def _compare(trial: Trial, rng: np.random.Generator) -> None:
    live, candidate = (
        trial.windows.names_of(side.served, trial.family.live) for side in (trial.live, trial.candidate)
    )
    for row in rng.integers(len(trial.family.truth), size=rng.poisson(min(trial.rate, 1 / PAIR_EVERY_S))):
        ours, theirs = (
            {name: array[row : row + 1] for name, array in side.answers.items()}
            for side in (trial.live, trial.candidate)
        )
        same = live.says_the_same(ours, candidate, theirs, 0.5)
        counts = trial.windows.counts(2, trial.candidate.served, trial.caller(rng))
        counts.shadows.append("agreed" if same else "differed")


def outcomes(
    known: list[Family], trials: int, seed: int = SEED, callers: int = 0
) -> dict[str, dict[str, int]]:
    """Run `trials` bad and as many equal releases; return how the releases of each kind ended.

    With `callers`, requests are drawn from so many, who are distinguished by group.
    """
    ended: dict[str, dict[str, int]] = {}
    rng = np.random.default_rng(seed)
    for kinds in (BAD, EQUAL):
        for number in range(trials):
            trial = trial_of(known, kinds[number % len(kinds)], rng)
            trial.callers = tuple(rng.integers(CALLER_GROUPS, size=callers).tolist()) if callers else ()
            release = run(trial, rng)
            state = {"live": "promoted", "rolled_back": "rolled back"}.get(release.state, "held")
            counts = ended.setdefault(trial.kind, {"promoted": 0, "rolled back": 0, "held": 0})
            counts[state] += 1
            print(f"{trial.kind}: {state}; {trial.asked} {trial.rate:.0f}/s", file=sys.stderr)
    return ended


def table(ended: dict[str, dict[str, int]]) -> str:
    """Write the outcomes as a table in Markdown."""
    lines = ["| candidate | promoted | rolled back | held |", "|---|--:|--:|--:|"]
    for title, kinds in (("bad", BAD), ("equal", EQUAL)):
        total = {state: sum(ended[kind][state] for kind in kinds if kind in ended) for state in ended[BAD[0]]}
        rows = [(f"**{title}**", total), *((kind, ended[kind]) for kind in kinds if kind in ended)]
        lines += [
            f"| {name} | {' | '.join(str(count) for count in counts.values())} |" for name, counts in rows
        ]
    return "\n".join(lines)


def marked(rows: str, trials: int) -> str:
    """Put the table between the comments that mark its place in the page."""
    begins = f"<!-- made by `{COMMAND}`: seed {SEED}, {trials} bad and {trials} equal candidates -->"
    return f"{begins}\n{rows}\n<!-- end of the trials -->"


def main() -> int:
    """Try, and write or print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--print", action="store_true", help="print the table, change nothing")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--callers", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = table(outcomes(families(Path(folder)), arguments.trials, callers=arguments.callers))
    if arguments.print:
        print(rows)
        return 0
    text = PAGE.read_text(encoding="utf-8")
    pattern = re.compile(rf"<!-- made by `{re.escape(COMMAND)}.*?<!-- end of the trials -->", re.DOTALL)
    PAGE.write_text(pattern.sub(lambda _: marked(rows, arguments.trials), text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
