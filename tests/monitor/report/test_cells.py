from __future__ import annotations

from lading.monitor.report import cells
from support.model_statuses import column


def categories(count, **changes):
    return column(
        kind="category",
        bounds=(),
        cells=("missing", "unseen", *(f"c{at}" for at in range(count))),
        reference=(0, 0, *range(1, count + 1)),
        live=(0, 0, *([10] * count)),
        **changes,
    )


def test_missing_and_unseen_values_are_listed_only_if_any_were_counted():
    assert cells.side_cells(column()) == []
    with_missing = column(live=(25, 0, 25, 25, 25, 0), rows=100)
    assert [(cell.label, cell.live) for cell in cells.side_cells(with_missing)] == [("missing", 0.25)]


def test_the_most_frequent_category_is_first_and_rare_ones_are_folded_into_others():
    bars = cells.bar_cells(categories(100))
    assert len(bars) == 12
    assert bars[0].label == "c99"
    assert bars[-1].label == "89 others"
    assert sum(bar.reference_rows for bar in bars) == sum(range(1, 101))
    assert sum(bar.live_rows for bar in bars) == 1000


def test_a_rare_category_that_grew_is_not_folded():
    grown = categories(100)
    live = list(grown.live)
    live[2] = 400
    bars = cells.bar_cells(column(**{**_fields(grown), "live": tuple(live)}))
    assert "c0" in [bar.label for bar in bars]


def _fields(status):
    return {name: getattr(status, name) for name in status.__struct_fields__}


def test_numbers_keep_their_order():
    few = categories(20)
    bars = cells.bar_cells(column(**{**_fields(few), "kind": "integer"}))
    assert [bar.label for bar in bars] == [f"c{at}" for at in range(20)]


def test_the_largest_difference_is_named():
    moved = column(reference=(0, 0, 25, 25, 25, 25), live=(0, 0, 25, 25, 0, 50))
    assert cells.largest_difference(moved).label in ("2 – 4", "> 4")


def test_a_column_without_rows_has_shares_of_zero():
    nothing = column(live=(0,) * 6, rows=0)
    assert cells.missing_shares(nothing) == (0.0, 0.0)
