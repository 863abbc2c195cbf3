"""The simulated tables of monitoring: they agree with the product, and the page has the command's."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from lading.monitor.drift import ColumnReference, DriftState, advance

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "monitoring.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def simulation():
    """Return the two scripts as modules: the table and its traffic."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import monitor_table
        import monitor_traffic
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    return monitor_table, monitor_traffic


def rows_of(table: str) -> list[list[str]]:
    """Return the cells of each row of a table in the page, without its head."""
    text = re.search(rf"<!-- {table}: made by .*?-->\n(.*?)<!-- end of {table} -->", PAGE, re.DOTALL).group(1)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.strip().splitlines()[2:]]


@pytest.mark.parametrize("kind", [0, 2, 3, 4])
def test_a_simulated_column_is_tested_as_the_product_tests_it(simulation, kind):
    table, traffic = simulation
    data = traffic.KINDS[kind]
    watch = table.Watch(traffic.Traffic(data, 3, np.random.default_rng(kind)), compared=False)
    reference = ColumnReference(tuple(watch.traffic.reference[1].tolist()), data.shares is None)
    state = DriftState.start(reference)
    for hour in range(30):
        counts = watch.traffic.counts(watch.traffic.shares(watch.traffic.next_hour()), 200)
        watch.test(counts.astype(float))
        state = advance(state, reference, counts[1].tolist(), hour * 3600.0, 3600.0)
    # Of rare values the middle of the references says a little differently what is worth betting on.
    assert watch.process.log_e()[1] == pytest.approx(state.log_e, abs=0.02 if kind == 3 else 1e-9)


def test_the_page_has_every_kind_and_change_and_no_more_alarms_than_stated(simulation):
    table, traffic = simulation
    alarms = rows_of("false alarms")
    assert [row[0] for row in alarms] == [kind.name for kind in traffic.KINDS]
    assert all(int(row[2]) <= 0.01 * int(row[1]) for row in alarms)
    assert [row[0] for row in rows_of("delays")] == [change.name for change in table.CHANGES]


@pytest.mark.slow
def test_small_tables_are_made_by_the_same_command(simulation):
    table, _ = simulation
    size = table.Size(series=2, looks=60, compared=1, compared_looks=30, runs=3, before=60, after=20)
    alarms, delays = table.simulate(size, seed=1, workers=1)
    assert [(result.series, result.alarmed) for result in alarms] == [(2, 0)] * 5
    assert all(result.compared_alarmed[1] == 1 for result in alarms)
    assert "| normal | 2 | 0 |" in table.false_alarm_table(alarms)
    assert len(table.delay_table(delays).splitlines()) == 2 + len(table.CHANGES)


def test_the_other_tests_are_what_their_libraries_compute(simulation):
    table, traffic = simulation
    watch = table.Watch(traffic.Traffic(traffic.KINDS[0], 2, np.random.default_rng(3)), compared=True)
    rows = watch.traffic.rows(np.zeros((2, 1)), 200)
    sample = watch.traffic.sample
    position = np.stack([np.searchsorted(*pair) for pair in zip(sample, rows, strict=True)])
    sums = np.concatenate([np.zeros((2, 1)), sample.cumsum(axis=1)], axis=1)
    expected = [wasserstein_distance(*pair) for pair in zip(sample, rows, strict=True)]
    assert table.wasserstein(rows, position, sums) == pytest.approx(expected)


def test_the_bound_of_a_share_is_that_of_clopper_and_pearson(simulation):
    table, _ = simulation
    assert table.highest_share(0, 300) == pytest.approx(1 - 0.05 ** (1 / 300))
    assert table.highest_share(5, 5) == 1
