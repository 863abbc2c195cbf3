from __future__ import annotations

from xml.etree import ElementTree

from lading.monitor.report.column_card import cell_table, column_card
from support.model_statuses import HOUR, SINCE, column, small_status


def card(status_column, **changes):
    status = small_status(status_column, **changes)
    return ElementTree.fromstring(column_card(status, status_column, id="inputs-0"))


def text_of(element):
    return "".join(element.itertext())


def test_a_column_that_drifted_says_so_in_words_with_its_time():
    text = text_of(
        card(column(is_alarming=True, change="higher by 0.4 standard deviations", began_at=SINCE + HOUR))
    )
    assert "▲ drifted" in text
    assert "Higher by 0.4 standard deviations, since 2026-11-29 07:00 UTC." in text


def test_a_column_that_looks_like_its_reference_has_no_mark():
    quiet = card(column())
    assert quiet.get("class") == "card"
    assert "drifted" not in text_of(quiet)
    assert "No evidence of a change so far." in text_of(quiet)


def test_a_column_that_is_not_tested_says_why():
    assert "changes by its nature" in text_of(card(column(is_tested=False)))
    assert "not tested yet" in text_of(card(column(log_e=None)))


def test_of_few_rows_it_is_said_which_psi_they_show_without_a_change():
    assert "0.033 if unchanged" in text_of(card(column()))
    assert "if unchanged" not in text_of(card(column(rows=10_000)))


def test_missing_values_are_numbers_of_both_or_none():
    gone = column(reference=(10, 0, 250, 250, 250, 240), live=(20, 0, 20, 20, 20, 20))
    assert "1.0 % → 20 %" in text_of(card(gone))
    assert "none" in text_of(card(column()))


def test_the_table_has_the_counts_and_shares_of_every_cell():
    table = ElementTree.fromstring(cell_table(column()))
    rows = [[text_of(cell) for cell in row] for row in table.find("tbody")]
    assert [row[0] for row in rows] == ["missing", "unseen", "≤ 1", "1 – 2", "2 – 4", "> 4"]
    assert rows[2][1:] == ["250 25 %", "26 26 %"]


def test_a_table_of_many_categories_is_cut_and_counts_the_others():
    many = column(
        kind="category",
        bounds=(),
        cells=("missing", "unseen", *(f"c{at}" for at in range(200))),
        reference=(0, 0, *range(200)),
        live=(0, 0, *([1] * 200)),
        rows=200,
    )
    rows = ElementTree.fromstring(cell_table(many)).find("tbody")
    assert len(rows) == 41
    assert text_of(rows[-1]).startswith("162 others")
