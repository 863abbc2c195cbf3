"""Apply anomalies to data; write the tables of docs/reference/input-checks.md: what finds each of them.

    python scripts/anomalies_table.py            writes the tables into the page (a minute)
    python scripts/anomalies_table.py --print    prints them

Requests are rows of a mixed frame that is drawn here, or of the breast cancer data that scikit-learn ships,
cast by the signature, checked by the rules of the reference's profile, and counted for the monitor's drift
test, 200 rows an hour, after a week without a change. The last row of a table is the unchanged data, in
which nothing may be found.
"""

from __future__ import annotations

import argparse
import platform
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from lading.bundle.formats.v2 import Check
from lading.errors import LadingError
from lading.input_checks.compiled import Checks
from lading.input_checks.stated_rules import rules_of
from lading.monitor.discoveries import alarm_of
from lading.monitor.drift import ColumnReference, DriftState, advance
from lading.profile import Profile
from lading.profile.live import LiveCounts
from lading.profile.measure import measure
from lading.signature import Signature, Tensor

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "input-checks.md"
COMMAND = "python scripts/anomalies_table.py"
SEED = 20261130
REFERENCE_ROWS, WINDOW_ROWS, HOUR_S = 2000, 200, 3600.0
CALM_ROWS, LIVE_ROWS = 7 * 24 * WINDOW_ROWS, 10_000
TRIALS = 5
NOW = 1_796_000_000.0  # 2026-11-30
DAY_S = 86_400

Row = dict[str, Any]
Change = Callable[[Row, np.random.Generator], None]
"""Changes a row in place."""

COUNTRIES = ("Norway", "Korea", "Côte d'Ivoire", "Chile", "France", "Kenya")
PLANS = ("free", "team", "company")
WORDS = ("late", "parcel", "refund", "thanks", "invoice", "again", "please", "address")
DTYPES = {
    "age": "int64",
    "children": "int64",
    "tariff": "int64",
    "rooms": "float32",
    "income": "float32",
    "balance": "float32",
    "height_cm": "float32",
    "weight_kg": "float32",
    "temperature": "float32",
    "share": "float32",
    "score": "float32",
    "country": "string",
    "plan": "string",
    "comment": "string",
    "start": "string",
    "end": "string",
}
MIXED = Signature(
    inputs=tuple(
        Tensor(name=name, dtype=dtype, shape=("batch",), allows_nan=name == "score", bound=1e30)  # type: ignore[arg-type]
        for name, dtype in DTYPES.items()
    ),
    outputs=(Tensor(name="value", dtype="float32", shape=("batch",)),),
)
STATED = (Check(input="start", at_most="end"),)


def mixed_rows(rng: np.random.Generator, rows: int) -> list[Row]:
    """Draw rows of the mixed frame; 5 % of the scores are missing."""
    start = NOW - 400 * DAY_S + rng.uniform(0, 370 * DAY_S, rows)
    columns: dict[str, list[Any]] = {
        "age": np.clip(rng.normal(44, 14, rows), 18, 95).astype(int).tolist(),
        "children": rng.poisson(1.2, rows).tolist(),
        "tariff": rng.choice([10, 20, 35], rows, p=[0.5, 0.3, 0.2]).tolist(),
        "rooms": rng.integers(1, 9, rows).astype(float).tolist(),
        "income": rng.lognormal(10.3, 0.6, rows).tolist(),
        "balance": rng.normal(200, 900, rows).tolist(),
        "height_cm": rng.normal(171, 9, rows).tolist(),
        "weight_kg": rng.normal(75, 12, rows).tolist(),
        "temperature": rng.normal(21, 4, rows).tolist(),
        "share": rng.beta(2, 5, rows).tolist(),
        "score": [None if rng.random() < 0.05 else float(rng.normal(0.6, 0.1)) for _ in range(rows)],
        "country": rng.choice(COUNTRIES, rows, p=[0.3, 0.25, 0.15, 0.12, 0.1, 0.08]).tolist(),
        "plan": rng.choice(PLANS, rows, p=[0.6, 0.3, 0.1]).tolist(),
        "comment": [" ".join(rng.choice(WORDS, rng.integers(2, 14))) for _ in range(rows)],
        "start": [_iso(seconds) for seconds in start],
        "end": [_iso(seconds + rng.uniform(1, 20) * DAY_S) for seconds in start],
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def sets(name: str, value: Callable[[Any], Any], share: float = 1.0) -> Change:
    """Return what replaces the value of a column by another one, in a share of the rows."""

    def change(row: Row, rng: np.random.Generator) -> None:
        if share == 1.0 or rng.random() < share:
            row[name] = value(row[name])

    return change


def swaps(name: str, other: str) -> Change:
    """Return what gives two columns each other's values."""

    def change(row: Row, _: np.random.Generator) -> None:
        row[name], row[other] = row[other], row[name]

    return change


def _drop(row: Row, _: np.random.Generator) -> None:
    del row["share"]


def _add(row: Row, _: np.random.Generator) -> None:
    row["colour"] = "red"


def _years_later(text: str) -> str:
    return str(int(text[:4]) + 30) + text[4:].replace("-02-29", "-02-28")


def _garbled(text: str) -> str:
    return text.encode().decode("latin-1")


DUPLICATES = "each row sent three times"
ANOMALIES: dict[str, Change] = {
    'a number as text, `"44"`': sets("age", str),
    "a fraction in a column of integers": sets("age", lambda value: value + 0.5),
    "a fraction in a float column of whole numbers": sets("rooms", lambda value: value + 0.5),
    "a missing number where none ever was": sets("income", lambda _: None),
    "a missing text where none ever was": sets("plan", lambda _: ""),
    "missing values twice as often (5 % → 10 %)": sets("score", lambda _: None, 0.053),
    "missing values as −999": sets("weight_kg", lambda _: -999.0, 0.1),
    "an infinity": sets("balance", lambda _: float("inf")),
    "a column more": _add,
    "a column less": _drop,
    "out of range: age 440": sets("age", lambda value: value * 10),
    "wrong unit × 1000": sets("income", lambda value: value * 1000),
    "wrong unit ÷ 1000": sets("income", lambda value: value / 1000),
    "wrong unit × 2.54": sets("height_cm", lambda value: value * 2.54),
    "wrong unit ÷ 2.54": sets("height_cm", lambda value: value / 2.54),
    "Fahrenheit for Celsius": sets("temperature", lambda value: value * 1.8 + 32),
    "percent for a share": sets("share", lambda value: value * 100),
    "sign flipped": sets("income", lambda value: -value),
    "two columns swapped": swaps("height_cm", "weight_kg"),
    "a constant column": sets("temperature", lambda _: 21.0),
    "mean shifted by half a deviation": sets("temperature", lambda value: value + 2),
    "spread halved": sets("temperature", lambda value: 21 + (value - 21) / 2),
    "rounded to tens": sets("weight_kg", lambda value: round(value, -1)),
    "rounded to whole numbers": sets("weight_kg", lambda value: float(round(value))),
    "an unknown code (10 % of rows)": sets("tariff", lambda _: 50, 0.1),
    "a new category (10 % of rows)": sets("country", lambda _: "Peru", 0.1),
    "categories in capitals": sets("plan", str.upper),
    "a space after categories": sets("plan", lambda value: value + " "),
    "two categories exchanged": sets("plan", lambda v: {"free": "team", "team": "free"}.get(v, v)),
    "encoding damaged (`CÃ´te d'Ivoire`)": sets("country", _garbled),
    "times 30 years in the future": sets("start", _years_later),
    "dates as 30/11/2026": sets("start", lambda v: "/".join(reversed(v.split("-")))),
    "the end before the start": swaps("start", "end"),
    "texts twenty times as long": sets("comment", lambda value: " ".join([value] * 20)),
    "empty texts": sets("comment", lambda _: ""),
    DUPLICATES: lambda _row, _rng: None,
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What found an anomaly: shares of the changed rows, and the rows until the drift test's alarm."""

    changed: int
    refused: int
    failed: int
    alarm_after: int | None
    alarmed: tuple[str, ...]
    rules: tuple[str, ...]


Counts = list[tuple[tuple[int, ...], ...]]
"""By window, and by column, the rows of each cell."""


class Finder:
    """The signature, the checks and the drift test of one reference, which has seen `before` in peace."""

    def __init__(
        self,
        signature: Signature,
        profile: Profile,
        before: Mapping[str, Any],
        unchanged: Mapping[str, Any],
        stated: tuple[Check, ...] = (),
    ) -> None:
        self.signature = signature
        self.profile = profile
        self.checks = Checks(rules_of(signature, profile, stated), signature, clock=lambda: NOW)
        self._references = [ColumnReference.of(column) for column in profile.inputs]
        fresh = [DriftState.start(own, HOUR_S) for own in self._references]
        calm = self._counts(before)
        self._began = len(calm)
        self._start = [
            self._path(at, state, [counts[at] for counts in calm], 0)[-1] for at, state in enumerate(fresh)
        ]
        self._unchanged = self._counts(unchanged)
        self._paths = [self._path_of(at, self._unchanged) for at in range(len(self._references))]

    def failed(self, inputs: Mapping[str, Any]) -> tuple[int, tuple[str, ...]]:
        """Return how many rows fail a check, and the rules that many of them fail."""
        failures = list(self.checks.failures(inputs))
        rows = {failure.row for failure in failures}
        rules = Counter(failure.rule.kind for failure in failures)
        return len(rows), tuple(rule for rule, count in rules.items() if count > len(rows) / 100)

    def alarm(self, inputs: Mapping[str, Any]) -> tuple[int | None, tuple[str, ...]]:
        """Return after how many rows the drift test alarms, and for which columns."""
        counts = self._counts(inputs)
        paths = []
        for at, path in enumerate(self._paths):
            own = [window[at] for window in counts]
            is_same = own == [window[at] for window in self._unchanged]
            paths.append(path if is_same else self._path_of(at, counts))
        for number in range(len(counts)):
            states = {
                column.name: path[number] for column, path in zip(self.profile.inputs, paths, strict=True)
            }
            alarms = alarm_of(states)
            if alarms:
                return (number + 1) * WINDOW_ROWS, tuple(alarms)
        return None, ()

    def _path_of(self, at: int, counts: Counts) -> list[DriftState]:
        return self._path(at, self._start[at], [window[at] for window in counts], self._began)

    def _path(
        self, at: int, state: DriftState, counts: list[tuple[int, ...]], began: int
    ) -> list[DriftState]:
        """Return the states of one column after each window."""
        path = []
        for number, cells in enumerate(counts, began):
            state = advance(state, self._references[at], cells, at=number * HOUR_S, seconds=HOUR_S)
            path.append(state)
        return path

    def _counts(self, inputs: Mapping[str, Any]) -> Counts:
        counting, windows = LiveCounts(self.profile, self.signature), []
        rows = len(next(iter(inputs.values())))
        for start in range(0, rows, WINDOW_ROWS):
            part = {name: array[start : start + WINDOW_ROWS] for name, array in inputs.items()}
            counting.add(part, {}, WINDOW_ROWS)
            windows.append(counting.drain()[: len(self.profile.inputs)])
        return windows


def mixed_finder(seed: int, rows: int = LIVE_ROWS, calm: int = CALM_ROWS) -> tuple[Finder, list[Row]]:
    """Return what looks at the mixed frame, and rows that nothing has been done to."""
    rng = np.random.default_rng(seed)
    reference, before = (MIXED.cast_rows(mixed_rows(rng, size)) for size in (REFERENCE_ROWS, calm))
    unchanged = mixed_rows(rng, rows)
    profile = measure(MIXED, reference)
    return Finder(MIXED, profile, before, MIXED.cast_rows(unchanged), STATED), unchanged


def outcome(finder: Finder, unchanged: list[Row], change: Change | None, *, repeat: int = 1) -> Outcome:
    """Return what finds a change of the mixed frame, or what is found in the unchanged frame."""
    rng = np.random.default_rng(SEED)
    after = [dict(row) for row in unchanged[: len(unchanged) // repeat] for _ in range(repeat)]
    after = after[: len(after) // WINDOW_ROWS * WINDOW_ROWS]
    if change is not None:
        for row in after:
            change(row, rng)
    changed = [at for at, row in enumerate(after) if row != unchanged[at]] or list(range(len(after)))
    try:
        inputs = finder.signature.cast_rows(after)
    except LadingError:
        refused = sum(_is_refused(finder.signature, after[at]) for at in changed[:200])
        return Outcome(min(200, len(changed)), refused, 0, None, (), ())
    failed, rules = finder.failed({key: array[changed] for key, array in inputs.items()})
    alarm_after, alarmed = finder.alarm(inputs)
    return Outcome(len(changed), 0, failed, alarm_after, alarmed, rules)


def _is_refused(signature: Signature, row: Row) -> bool:
    try:
        signature.cast_rows([row])
    except LadingError:
        return True
    return False


def mixed_table() -> Iterator[str]:
    """Return the lines of the table of the mixed frame."""
    finder, unchanged = mixed_finder(SEED)
    yield "| anomaly | signature refuses | checks find | by | drift alarms after | in |"
    yield "|---|---|---|---|---|---|"
    for name, change in ANOMALIES.items():
        yield _table_row(name, outcome(finder, unchanged, change, repeat=3 if name == DUPLICATES else 1))
    calm = [outcome(*mixed_finder(SEED + number), None) for number in range(1, 1 + TRIALS)]
    rows = sum(each.changed for each in calm)
    failed, alarms = sum(each.failed for each in calm), sum(bool(each.alarmed) for each in calm)
    yield f"| **nothing**, {TRIALS} times | none | {failed} of {rows:,} rows | | {alarms} of {TRIALS} | |"


def _table_row(name: str, found_by: Outcome) -> str:
    share = found_by.failed / found_by.changed
    cells = (
        name,
        _percent(found_by.refused / found_by.changed),
        _percent(share) if not found_by.refused else "",
        ", ".join(f"`{rule}`" for rule in found_by.rules),
        f"{found_by.alarm_after:,} rows" if found_by.alarm_after else "–" if not found_by.refused else "",
        ", ".join(f"`{column}`" for column in found_by.alarmed[:3]),
    )
    return f"| {' | '.join(cells)} |"


def _percent(share: float) -> str:
    return "–" if not share else f"{100 * share:.0f} %" if share > 0.01 else f"{100 * share:.1f} %"


SWAPPED = "swapped with the next column"
NUMBERS: dict[str, Callable[[Any, Any], Any]] = {
    "× 1000": lambda x, _: x * 1000,
    "÷ 1000": lambda x, _: x / 1000,
    "× 2.54": lambda x, _: x * 2.54,
    "÷ 2.54": lambda x, _: x / 2.54,
    "sign flipped": lambda x, _: -x,
    "−999 for 1 % of the values": lambda x, rng: np.where(rng.random(len(x)) < 0.01, -999, x),
    SWAPPED: lambda x, _: x,
    "constant at the median": lambda x, _: np.full_like(x, np.median(x)),
    "mean shifted by half a deviation": lambda x, _: x + x.std() / 2,
    "spread halved": lambda x, _: x.mean() + (x - x.mean()) / 2,
    "rounded to two digits": lambda x, _: np.array([float(f"{value:.2g}") for value in x]),
}
"""Changes of one column of numbers."""

NUMBER_ROWS = 6000


def numbers_table() -> Iterator[str]:
    """Return the lines of the table of the breast cancer data: each of 30 columns is changed by itself."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    names = tuple(data.feature_names.tolist())
    signature = Signature(
        inputs=(Tensor(name="x", dtype="float32", shape=("batch", len(names)), columns=names),),
        outputs=MIXED.outputs,
    )
    rng = np.random.default_rng(SEED)
    sizes = (REFERENCE_ROWS, CALM_ROWS, NUMBER_ROWS)
    reference, before, live = (data.data[rng.integers(0, len(data.data), size)] for size in sizes)
    profile = measure(signature, {"x": reference.astype(np.float32)})
    plain = live.astype(np.float32)
    finder = Finder(signature, profile, {"x": before.astype(np.float32)}, {"x": plain})
    yield "| change of one column | checks find | of its rows | drift alarms for | after |"
    yield "|---|---|---|---|---|"
    for name, change in NUMBERS.items():
        shares, delays = [], []
        for at in range(len(names)):
            changed, following = live.copy(), (at + 1) % len(names)
            changed[:, at] = change(live[:, at], rng)
            if name == SWAPPED:
                changed[:, [at, following]] = live[:, [following, at]]
            inputs = {"x": changed.astype(np.float32)}
            touched = np.flatnonzero((inputs["x"] != plain).any(axis=1))
            failed, _ = finder.failed({"x": inputs["x"][touched]})
            shares.append(failed / max(1, len(touched)))
            after, _ = finder.alarm(inputs)
            if after is not None:
                delays.append(after)
        caught = [share for share in shares if share > 0.001]
        found_share = _percent(float(np.median(caught))) if caught else "–"
        delay = f"{np.median(delays):,.0f} rows" if delays else "–"
        yield f"| {name} | {len(caught)} columns | {found_share} | {len(delays)} columns | {delay} |"
    failed, _ = finder.failed({"x": plain})
    after, _ = finder.alarm({"x": plain})
    yield f"| **nothing** | {failed} of {len(live):,} rows | | {'an alarm' if after else 'no alarm'} | |"


def _machine() -> str:
    return (
        f"`{COMMAND}`, {platform.machine()}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"
    )


def main() -> int:
    """Measure, then print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--print", action="store_true", dest="prints")
    options = parser.parse_args()
    tables = {"mixed": mixed_table(), "numbers": numbers_table()}
    written = {name: "\n".join([*lines, "", f"Measured by {_machine()}."]) for name, lines in tables.items()}
    page = PAGE.read_text() if not options.prints else ""
    for name, text in written.items():
        if options.prints:
            print(text, end="\n\n", flush=True)
            continue
        begin, end = f"<!-- {name}: {COMMAND} -->", f"<!-- /{name} -->"
        pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
        assert pattern.search(page), f"{PAGE} has no place for the table `{name}`"
        page = pattern.sub(lambda match, text=text: f"{match[1]}\n{text}\n\n{match[2]}", page)
    if not options.prints:
        PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
