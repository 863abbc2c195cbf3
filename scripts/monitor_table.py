"""Simulate live traffic; write the tables of docs/reference/monitoring.md: false alarms, and delays.

    python scripts/monitor_table.py            writes the tables into the page (15 minutes of two cores)
    python scripts/monitor_table.py --print    prints them
    python scripts/monitor_table.py --quick    prints small ones

One look is an hour of 200 rows. Beside lading's test stand what people look at each hour: PSI above 0.2, the
Kolmogorov-Smirnov test (of categories the chi-squared test) at 5 %, and the default of Evidently for
references of more than 1000 rows, computed here as it documents it: the Wasserstein distance in standard
deviations, for categories the Jensen-Shannon distance, above 0.1.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import log
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from monitor_traffic import CATEGORIES, KINDS, RARE, REFERENCE_ROWS, Change, Kind, Traffic
from scipy.special import kolmogorov
from scipy.stats import beta, chi2

from lading.monitor.discoveries import ALPHA, adjusted
from lading.monitor.dispersion import Floats
from lading.monitor.drift import Process
from lading.monitor.wording import percent

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "monitoring.md"
COMMAND = "python scripts/monitor_table.py"
SEED = 20261130
HOUR_S, ROWS, COLUMNS = 3600.0, 200, 20
WEEK = 168  # hours
OTHERS = ("PSI > 0.2", "KS / chi² at 5 %", "Evidently's default")
_SERIES_TOGETHER = 20  # bounds the memory


@dataclass(frozen=True)
class Size:
    """How much is simulated: series and looks; of those the series and looks with the other tests beside.

    Of delays: runs of each, and the hours before and after the change.
    """

    series: int = 303
    looks: int = 10_000
    compared: int = 3
    compared_looks: int = 1000
    runs: int = 100
    before: int = 720
    after: int = 1500


QUICK = Size(series=6, looks=300, compared=1, compared_looks=100, runs=6, before=240, after=120)


def _shares(base: Floats, **cells: float) -> Floats:
    """Return the shares with those of some cells replaced, and the rest scaled to fit."""
    shares = base.copy()
    at = {int(name.removeprefix("cell")): share for name, share in cells.items()}
    others = np.array([cell not in at for cell in range(len(shares))])
    shares[others] *= (1 - sum(at.values())) / shares[others].sum()
    for cell, share in at.items():
        shares[cell] = share
    return shares


_MISSING = Kind("numbers with 2 % missing", _shares(RARE, cell0=0.02))
CHANGES = (
    *(Change(f"higher by {shift:g} sd", KINDS[0], shift) for shift in (0.1, 0.2, 0.3, 0.5, 1.0)),
    Change("a new category, 1 % of the rows", KINDS[2], shares=_shares(CATEGORIES, cell1=0.0105)),
    Change("a new category, 5 % of the rows", KINDS[2], shares=_shares(CATEGORIES, cell1=0.0505)),
    Change("missing: 2 % -> 4 %", _MISSING, shares=_shares(_MISSING.shares, cell0=0.04)),
    Change("autocorrelated by hour, higher by 0.5 sd", KINDS[4], 0.5),
    Change("autocorrelated by hour, higher by 1 sd", KINDS[4], 1.0),
    Change("day and night of 1 sd, higher by 0.5 sd", Kind("season", season=1.0), 0.5),
    Change("the same, compared with former weeks", Kind("season", season=1.0, weekly=True), 0.5),
)


class Watch:
    """All tests over the same hours of many columns."""

    def __init__(self, traffic: Traffic, *, compared: bool) -> None:
        self.traffic = traffic
        self.experts, masses = traffic.experts()
        self.process = Process.start(self.experts, len(masses), HOUR_S)
        self.process.urn, self.process.present = masses, masses[:, 2:].sum(axis=1)
        self._compared = compared
        self._hour = 0
        self._sums: Floats | None = None
        self._past: list[Floats] = []

    def hour(self, change: Change | None = None, *, compared: bool = True) -> Floats | None:
        """Test one more hour; return which of the others alarm: ``[others, columns]``, None if not asked."""
        mean = self.traffic.next_hour()
        alarms = None
        if not (self._compared and compared):
            counts = self.traffic.counts(self.traffic.shares(mean, change), ROWS)
        elif self.traffic.kind.shares is None:
            rows = self.traffic.rows(mean, ROWS, change)
            counts, alarms = self._compare_numbers(rows)
        else:
            counts = self.traffic.counts(self.traffic.shares(mean, change), ROWS)
            alarms = np.stack(
                [_psi(self.traffic.reference, counts) > 0.2, *_compare_shares(self.traffic, counts)]
            )
        self.test(np.asarray(counts, np.float64))
        return alarms

    def test(self, counts: Floats) -> None:
        """Test the counts of the next hour: ``[columns, cells]``."""
        hour, self._hour = self._hour, self._hour + 1
        same_hours = None
        if self.traffic.kind.weekly:
            weeks = [self._past[-WEEK * week] for week in range(1, 5) if len(self._past) >= WEEK * week]
            self._past = [*self._past[1 - 4 * WEEK :], counts.astype(np.int32)]
            if len(weeks) < 2:
                return
            same_hours = np.sum(weeks, axis=0, dtype=np.float64)
        self.process.step(self.experts, counts, hour * HOUR_S, HOUR_S, same_hours)

    def _compare_numbers(self, rows: Floats) -> tuple[Floats, Floats]:
        """Return the counts by cell of sorted `rows`, and which of the others alarm."""
        sample = self.traffic.sample
        if self._sums is None:
            self._sums = np.concatenate([np.zeros((len(sample), 1)), sample.cumsum(axis=1)], axis=1)
        position = np.stack([np.searchsorted(*pair) for pair in zip(sample, rows, strict=True)])
        ends = [
            np.searchsorted(row, edges, "right") for row, edges in zip(rows, self.traffic.edges, strict=True)
        ]
        counts = np.diff(np.stack(ends), axis=1, prepend=0, append=rows.shape[1])
        counts = np.concatenate([np.zeros((len(rows), 2), counts.dtype), counts], axis=1)
        alarms = (
            _psi(self.traffic.reference, counts) > 0.2,
            _ks_p(position, rows.shape[1]) < 0.05,
            wasserstein(rows, position, self._sums) / sample.std(axis=1) >= 0.1,
        )
        return counts, np.stack(alarms)


def _psi(reference: Floats, counts: Floats) -> Floats:
    """Return the population stability index as it is customarily computed, empty cells being 0.01 %."""
    expected, live = (
        np.maximum(part / part.sum(axis=1, keepdims=True), 1e-4) for part in (reference, counts)
    )
    used = (reference > 0) | (counts > 0)
    return np.asarray((np.where(used, live - expected, 0) * np.log(live / expected)).sum(axis=1))


def _ks_p(position: Floats, rows: int) -> Floats:
    """Return the p-value of the two-sample Kolmogorov-Smirnov test, by its asymptotic distribution."""
    below = position / REFERENCE_ROWS
    steps = np.arange(rows + 1) / rows
    distance = np.maximum(steps[1:] - below, below - steps[:-1]).max(axis=1)
    return np.asarray(kolmogorov(distance * np.sqrt(rows * REFERENCE_ROWS / (rows + REFERENCE_ROWS))))


def wasserstein(rows: Floats, position: Floats, sums: Floats) -> Floats:
    """Return the first Wasserstein distance of sorted rows to the reference with the running `sums`."""
    # Row i faces the reference's values i * block ... (i + 1) * block; `split` of them are below it.
    block = REFERENCE_ROWS // rows.shape[1]
    start = np.arange(rows.shape[1]) * block
    split = np.clip(position, start, start + block)
    at = np.take_along_axis
    low, middle, high = (
        at(sums, np.broadcast_to(i, split.shape), axis=1) for i in (start, split, start + block)
    )
    distance = rows * (split - start) - (middle - low) + (high - middle) - rows * (start + block - split)
    return np.asarray(distance.sum(axis=1) / REFERENCE_ROWS)


def _compare_shares(traffic: Traffic, counts: Floats) -> tuple[Floats, Floats]:
    """Return where the chi-squared test at 5 % and the Jensen-Shannon distance of 0.1 alarm."""
    reference = traffic.reference
    rows, of = counts.sum(axis=1, keepdims=True), reference.sum(axis=1, keepdims=True)
    pooled = (counts + reference) / (rows + of)
    used = pooled > 0
    expected = np.where(used, rows * pooled, 1)
    other = np.where(used, of * pooled, 1)
    statistic = np.where(used, (counts - expected) ** 2 / expected + (reference - other) ** 2 / other, 0)
    p = chi2.sf(statistic.sum(axis=1), used.sum(axis=1) - 1)
    live, base = counts / rows, reference / of
    between = np.maximum((live + base) / 2, 1e-300)
    parts = [
        np.where(part > 0, part * np.log(np.maximum(part, 1e-300) / between), 0) for part in (live, base)
    ]
    distance = np.sqrt(np.maximum((parts[0] + parts[1]).sum(axis=1) / 2, 0))
    return p < 0.05, distance > 0.1


@dataclass
class FalseAlarms:
    """What happened without drift: series with an alarm, and of the compared ones, alarms of each kind."""

    kind: int
    series: int = 0
    alarmed: int = 0
    compared: int = 0
    looks: int = 0  # of columns, in the compared series
    compared_alarmed: Floats = field(default_factory=lambda: np.zeros(len(OTHERS)))
    alarms: Floats = field(default_factory=lambda: np.zeros(len(OTHERS)))

    def add(self, other: FalseAlarms) -> None:
        """Add another part of the same kind."""
        for name in ("series", "alarmed", "compared", "looks", "compared_alarmed", "alarms"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def without_drift(
    kind: int, series: int, looks: int, compared: int, seed: np.random.SeedSequence
) -> FalseAlarms:
    """Watch series of twenty columns of one kind without drift, at first with the others beside."""
    traffic = Traffic(KINDS[kind], series * COLUMNS, np.random.default_rng(seed))
    watch = Watch(traffic, compared=compared > 0)
    result = FalseAlarms(kind, series)
    alarmed, others = np.zeros(series, bool), np.zeros((len(OTHERS), series), bool)
    for look in range(looks):
        alarms = watch.hour(compared=look < compared)
        if look + 1 == compared or (not look and not compared):
            traffic.forget_sample()
        log_e = watch.process.log_e().reshape(series, COLUMNS)
        # Only a series with an e-value of 1/alpha can alarm: no adjusted value is more than its own.
        if (log_e.max(axis=1) >= -log(ALPHA)).any():
            alarmed |= (adjusted(log_e) >= -log(ALPHA)).any(axis=1)
        if alarms is not None:
            result.alarms += alarms.sum(axis=1)
            others |= alarms.reshape(len(OTHERS), series, COLUMNS).any(axis=2)
    result.alarmed = int(alarmed.sum())
    if compared:
        result.compared, result.looks = series, compared * series * COLUMNS
        result.compared_alarmed = others.sum(axis=1).astype(np.float64)
    return result


@dataclass
class Delay:
    """Hours from a change to the first alarm, of ours and of the others; infinite where none came."""

    change: int
    ours: Floats
    at_once: Floats  # where the change exists from the first hour
    others: Floats  # [others, runs]
    false: Floats  # [others], the share of hours before the change with an alarm


def delay(change: int, size: Size, seed: np.random.SeedSequence) -> Delay:
    """Watch one of twenty columns that changes; the threshold is that of twenty (Bonferroni)."""
    case = CHANGES[change]
    first, second = seed.spawn(2)
    watch = Watch(Traffic(case.kind, size.runs, np.random.default_rng(first)), compared=True)
    false, checked = np.zeros(len(OTHERS)), min(48, size.before)
    for hour in range(size.before):
        alarms = watch.hour(compared=hour >= size.before - checked)
        false += 0 if alarms is None else alarms.mean(axis=1)
    ours, others = _until_alarm(watch, case, size)
    fresh = Watch(Traffic(case.kind, size.runs, np.random.default_rng(second)), compared=False)
    at_once, _ = _until_alarm(fresh, case, size)
    return Delay(change, ours, at_once, others, false / checked)


def _until_alarm(watch: Watch, case: Change, size: Size) -> tuple[Floats, Floats]:
    threshold = log(COLUMNS / ALPHA)
    ours, others = np.full(size.runs, np.inf), np.full((len(OTHERS), size.runs), np.inf)
    for hour in range(1, size.after + 1):
        # The others have no memory: what they have not found in two hundred hours, they find at random.
        alarms = watch.hour(case, compared=hour <= 200)
        ours = np.minimum(ours, np.where(watch.process.log_e() >= threshold, hour, np.inf))
        if alarms is not None:
            others = np.minimum(others, np.where(alarms, hour, np.inf))
        if np.isfinite(ours).all() and (hour >= 200 or np.isfinite(others).all()):
            break
    return ours, others


def simulate(
    size: Size, seed: int = SEED, workers: int | None = None
) -> tuple[list[FalseAlarms], list[Delay]]:
    """Simulate everything, on `workers` processes (1: on this one)."""
    alarms, delays = [FalseAlarms(kind) for kind in range(len(KINDS))], []
    for result in _run(jobs(size, seed), workers or os.cpu_count() or 1):
        if isinstance(result, FalseAlarms):
            alarms[result.kind].add(result)
        else:
            delays.append(result)
    return alarms, delays


Job = tuple[Callable[..., object], tuple[object, ...]]


def jobs(size: Size, seed: int = SEED) -> Iterator[Job]:
    """Return what is to be run; a part of it has the same random numbers whatever the number of series."""
    for change in range(len(CHANGES)):
        yield delay, (change, size, np.random.SeedSequence([seed, 1, change]))
    parts = [size.compared]
    while sum(parts) < size.series:
        parts.append(min(_SERIES_TOGETHER, size.series - sum(parts)))
    for part, series in enumerate(parts):
        for kind in range(len(KINDS)):
            sequence = np.random.SeedSequence([seed, 0, kind, part])
            yield without_drift, (kind, series, size.looks, size.compared_looks * (part == 0), sequence)


def _run(jobs: Iterable[Job], workers: int) -> Iterable[object]:
    if workers == 1:
        yield from (function(*arguments) for function, arguments in jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(function, *arguments) for function, arguments in jobs]
        yield from (future.result() for future in futures)


def highest_share(alarmed: int, series: int) -> float:
    """Return the upper bound, with 95 % confidence, of a share (Clopper and Pearson)."""
    return float(beta.ppf(0.95, alarmed + 1, series - alarmed)) if alarmed < series else 1.0


def false_alarm_table(results: Sequence[FalseAlarms]) -> str:
    """Write the false alarms as a table in Markdown."""
    lines = [
        "| data without drift | series | with an alarm | at most (95 %) | " + " | ".join(OTHERS) + " |",
        "|---|--:|--:|--:|" + "--:|" * len(OTHERS),
    ]
    for result in results:
        others = [
            f"{alarmed:.0f} of {result.compared}; {percent(alarms / result.looks)} of looks"
            for alarmed, alarms in zip(result.compared_alarmed, result.alarms, strict=True)
        ]
        share = 100 * highest_share(result.alarmed, result.series)
        name = KINDS[result.kind].name
        lines.append(
            f"| {name} | {result.series} | {result.alarmed} | {share:.2f} % | {' | '.join(others)} |"
        )
    return "\n".join(lines)


def delay_table(results: Sequence[Delay]) -> str:
    """Write the delays as a table in Markdown: medians in hours, and how many never alarmed."""
    lines = [
        "| change | lading, after 30 days | 9 in 10 by | lading, from the first hour | "
        + " | ".join(OTHERS)
        + " |",
        "|---|--:|--:|--:|" + "--:|" * len(OTHERS),
    ]
    for result in sorted(results, key=lambda result: result.change):
        others = [
            f"{_hours(hours)} ({percent(false)})"
            for hours, false in zip(result.others, result.false, strict=True)
        ]
        columns = [_hours(result.ours), _hours(result.ours, 0.9), _hours(result.at_once), *others]
        lines.append(f"| {CHANGES[result.change].name} | {' | '.join(columns)} |")
    return "\n".join(lines)


def _hours(hours: Floats, quantile: float = 0.5) -> str:
    value = float(np.quantile(hours, quantile, method="higher"))
    return f"{value:.0f} h" if np.isfinite(value) else "not found"


def marked(name: str, rows: str, size: Size) -> str:
    """Put a table between the comments that mark its place in the page."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {datetime.now(UTC):%Y-%m-%d}"
    made = f"seed {SEED}, {size.looks:,} looks a series, {size.runs} runs a change; {machine}"
    return (
        f"<!-- {name}: made by `{COMMAND} --series {size.series}`: {made} -->\n{rows}\n<!-- end of {name} -->"
    )


def main() -> int:
    """Simulate, and write or print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--print", action="store_true", help="print the tables, change nothing")
    parser.add_argument("--quick", action="store_true", help="simulate little, and print")
    parser.add_argument("--series", type=int, default=Size.series, help="series without drift, of each kind")
    parser.add_argument("--workers", type=int, help="processes (default: one for each core)")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else Size(series=arguments.series)
    alarms, delays = simulate(size, workers=arguments.workers)
    tables = {"false alarms": false_alarm_table(alarms), "delays": delay_table(delays)}
    if arguments.print or arguments.quick:
        print(*tables.values(), sep="\n\n")
        return 0
    text = PAGE.read_text(encoding="utf-8")
    for name, rows in tables.items():
        pattern = re.compile(rf"<!-- {name}: made by .*?<!-- end of {name} -->", re.DOTALL)
        text = pattern.sub(lambda _, name=name, rows=rows: marked(name, rows, size), text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
