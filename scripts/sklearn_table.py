"""Write docs/reference/scikit-learn.md: which estimators and pipelines can be packed, measured here.

Each bundle is asked rows that packing never saw, and so is its estimator. Exits 1 if a bundle answered
otherwise, or where the estimator raises. ``--check`` writes nothing and exits 1 if the page is another as
well; ``--quick`` leaves out the harder columns and the pipelines, and ``--refused`` measures only what the
page does not have as ONNX. What is refused as ONNX is packed to run in Python, in an environment from the
package index. Takes about twenty minutes on two cores; set OMP_NUM_THREADS=1, or the threads of the
processes wait for each other.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
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

from support.sklearn_in_python import InPython, survey_in_python  # noqa: E402 - the tests hold the survey
from support.sklearn_pipelines import pipelines, survey_pipeline  # noqa: E402 - the tests hold the survey
from support.sklearn_survey import Outcome, estimators, survey, survey_harder  # noqa: E402

HEAD = """# scikit-learn: what can be packed

<!-- Written by scripts/sklearn_table.py, which packs every estimator; run it again after an upgrade. -->

Measured with scikit-learn {sklearn} and skl2onnx {skl2onnx}: every estimator that `all_estimators` lists
and that fits a small table with default parameters{pipelines}. *float32* and *float64* are packed bundles:
the dtype of their numbers. *refused* is a `ConversionError` and no bundle.

The bundles and their estimators were then asked {rows} rows that packing had not seen, by the path of a
request: rows held out, a missing value in each column alone and in several, infinities, numbers up to 1e300,
texts and categories that no sample shows, and the two neighbouring float32 rows between which a prediction
changes.{again}

- **Rows answered otherwise than by the estimator: {otherwise}.**
- **Rows answered where the estimator raises: {alone}.**{kinds}

In {ties} more rows the label is that of the other side of a near tie and every number agrees: the two best
classes are within the tolerance of each other, or the row is one float32 value away from where it changes.

A refusal here is about default parameters on this table; with others, or in a pipeline, the proof is made
again.

"""
IN_PYTHON = """{counts}

*Python* is refused as ONNX, for the reason in the last column, and packed with `runtime="python"`: stored by
skops, with no pickle and no `--allow`, and asked in its own environment. Of {rows:,} rows that packing had
not seen, {otherwise} were answered with other bits than by the estimator, and {alone} where it raises.

"""
AGAIN = """ What was packed was packed again where the estimator takes missing values (*gaps*: in two
columns of training), and with columns that are constant, huge, tiny and alike (*harder*)."""
COLUMNS = ("estimator", "kind", "table", "outcome", "why")
MORE = ("gaps", "harder")
PIPELINES = """
## Pipelines

Numbers, categories, a date and texts of passengers, through a ColumnTransformer: {counts}

| pipeline | table | outcome | why |
|---|---|---|---|
"""

_LINE = re.compile(r"^\| ([A-Za-z0-9]+) \| [a-z]+ \| [a-z, ]+ \| ([A-Za-z0-9]+) \|.*$", re.MULTILINE)

Task = tuple[str, object]
Result = tuple[str, list[Outcome]]


def main() -> int:
    """Survey, and write or compare the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many at once")
    parser.add_argument("--quick", action="store_true", help="no harder columns, and no pipelines")
    parser.add_argument("--refused", action="store_true", help="only what the page does not have as ONNX")
    arguments = parser.parse_args()
    if arguments.refused:
        return _write(_with_refused_again(PAGE.read_text()), check=arguments.check)
    if arguments.quick:
        tasks: list[Task] = [("quick", estimator) for estimator in estimators()]
    else:
        tasks = [("pipeline", at) for at in range(len(list(pipelines())))]
        tasks += [("estimator", estimator) for estimator in estimators()]
    with multiprocessing.get_context("fork").Pool(arguments.processes, maxtasksperchild=20) as pool:
        results = list(pool.imap(_surveyed, tasks))
    piped, surveyed = results[: len(tasks) - len(estimators())], results[len(tasks) - len(estimators()) :]
    text = page(piped, surveyed, _in_python([result for result in surveyed if _is_refused(result)]))
    silent = [outcome for _, outcomes in results for outcome in outcomes if outcome.asked.silent]
    for outcome in silent:
        print(f"{outcome.name} ({outcome.table}):", file=sys.stderr)
        for kind, example in outcome.asked.examples.items():
            print(f"  {kind}: {example[:300]}", file=sys.stderr)
    return _write(text, check=arguments.check) or (1 if silent else 0)


def _write(text: str, *, check: bool) -> int:
    """Write the page, or compare it; return 1 where it differs, or where an answer in Python did."""
    if not check:
        PAGE.write_text(text)
    same = re.search(r"^not seen, 0 were answered with other bits .*, and 0 where", text, re.MULTILINE)
    return 0 if same and PAGE.read_text() == text else 1


def page(piped: list[Result], surveyed: list[Result], in_python: dict[str, InPython]) -> str:
    """Return the text of the page."""
    unfit = [name for name, outcomes in surveyed if not outcomes]
    first = [outcomes[0] for _, outcomes in surveyed if outcomes]
    every = [outcome.asked for _, outcomes in (*piped, *surveyed) for outcome in outcomes]
    kinds: Counter[str] = Counter()
    for asked in every:
        kinds += asked.otherwise + asked.alone
    listed = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    head = HEAD.format(
        sklearn=sklearn.__version__,
        skl2onnx=skl2onnx.__version__,
        rows=f"{sum(asked.rows for asked in every):,}",
        otherwise=sum(asked.otherwise.total() for asked in every),
        alone=sum(asked.alone.total() for asked in every),
        kinds=f"\n- Both by kind: {listed}." if kinds else "",
        ties=sum(asked.ties for asked in every),
        again=AGAIN if piped else "",
        pipelines=", and pipelines as people write them" if piped else "",
    )
    head += _summary(Counter(outcome.result for outcome in first), in_python)
    of_pipelines = [outcomes[0] for _, outcomes in piped]
    table = [
        PIPELINES.format(counts=_counts(of_pipelines, "pipelines")),
        *(f"| {outcome.name} | {_facts(outcome)} |\n" for outcome in of_pipelines),
    ]
    reason = "since default parameters or small tables do not suit them"
    return "".join(
        [
            head,
            *(line + "\n" for line in _lines(surveyed, MORE if piped else (), in_python)),
            f"\nNot in the table, {reason}: {', '.join(unfit)}.\n",
            *(table if of_pipelines else []),
        ]
    )


def _surveyed(task: Task) -> Result:
    kind, subject = task
    with tempfile.TemporaryDirectory() as folder:
        if kind == "pipeline":
            outcome = survey_pipeline(list(pipelines())[int(str(subject))], Path(folder))
            return outcome.name, [outcome]
        name, role, estimator = subject  # type: ignore[misc]
        print(name, file=sys.stderr)
        outcome = survey(name, role, estimator, Path(folder))
        if outcome is None or outcome.result == "refused" or kind == "quick":
            return name, [outcome] if outcome else []
        return name, [outcome, *survey_harder(outcome, estimator, Path(folder))]


def _is_refused(result: Result) -> bool:
    return bool(result[1]) and result[1][0].result == "refused"


def _in_python(refused: list[Result]) -> dict[str, InPython]:
    """Pack what is refused as ONNX to run in Python, one after the other: they share an environment."""
    classes = {name: (kind, estimator) for name, kind, estimator in estimators()}
    outcomes = {}
    for name, _ in refused:
        print(f"{name} in Python", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            outcome = survey_in_python(name, *classes[name], Path(folder))
        if outcome is not None:
            outcomes[name] = outcome
            if outcome.otherwise or outcome.alone:
                print(f"{name}: {outcome.example[:300]}", file=sys.stderr)
    return outcomes


def _with_refused_again(text: str) -> str:
    """Return the page with the lines of what it does not have as ONNX measured again."""
    table = text.partition("\n## Pipelines")[0]
    old = {line[1]: line[0] for line in _LINE.finditer(table) if line[2] in ("Python", "refused")}
    kept = Counter(line[2] for line in _LINE.finditer(table) if line[2].startswith("float"))
    surveyed = [_surveyed(("estimator", each)) for each in estimators() if each[0] in old]
    as_onnx = [name for name, _ in surveyed if not _is_refused((name, _))]
    if as_onnx:
        raise SystemExit(f"packed as ONNX by now: {', '.join(as_onnx)}; run this without --refused")
    in_python = _in_python(surveyed)
    for (name, _), line in zip(surveyed, list(_lines(surveyed, MORE, in_python))[2:], strict=True):
        text = text.replace(old[name], line)
    summary = _summary(kept + Counter(refused=len(surveyed)), in_python)
    before, _, after = text.partition(re.search(r"^[0-9]+ estimators: .*$", text, re.MULTILINE)[0])  # type: ignore[index]
    return before + summary + after[after.index("| estimator |") :]


def _summary(results: Counter[str], in_python: dict[str, InPython]) -> str:
    packed = [outcome for outcome in in_python.values() if outcome.result == "Python"]
    counts = Counter({**results, "Python": len(packed), "refused": results["refused"] - len(packed)})
    listed = ", ".join(f"{counts[result]} {result}" for result in ("float32", "float64", "Python", "refused"))
    return IN_PYTHON.format(
        counts=f"{counts.total()} estimators: {listed}.",
        rows=sum(outcome.rows for outcome in packed),
        otherwise=sum(outcome.otherwise for outcome in packed),
        alone=sum(outcome.alone for outcome in packed),
    )


def _counts(outcomes: list[Outcome], what: str) -> str:
    counts = Counter(outcome.result for outcome in outcomes)
    summary = ", ".join(f"{counts[result]} {result}" for result in ("float32", "float64", "refused"))
    return f"{len(outcomes)} {what}: {summary}."


def _lines(surveyed: list[Result], ways: tuple[str, ...], in_python: dict[str, InPython]) -> Iterator[str]:
    columns = (*COLUMNS[:-1], *ways, COLUMNS[-1])
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    for _, outcomes in surveyed:
        if outcomes:
            first, others = outcomes[0], {outcome.table: outcome.result for outcome in outcomes[1:]}
            more = [others.get(f"{first.table}, {way}", "") for way in ways]
            own = in_python.get(first.name)
            table, result = (first.table, first.result) if own is None else (own.table, own.result)
            why = own.why if own is not None and own.result == "refused" else first.why
            facts = (first.name, first.kind, table, result, *more, _reason(why))
            yield f"| {' | '.join(facts)} |"


def _facts(outcome: Outcome) -> str:
    return f"{outcome.table} | {outcome.result} | {_reason(outcome.why)}"


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
