"""Tables as CSV: what a spreadsheet would take for a formula is a text in it."""

from __future__ import annotations

import csv
import io

import pytest

from lading.hub.spreadsheet import csv_text


@pytest.mark.parametrize(
    "hostile", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "  =cmd|' /C calc'!A0", "\r=1", "\n=1"]
)
def test_a_text_that_would_be_a_formula_has_an_apostrophe_in_front(hostile):
    rows = list(csv.reader(io.StringIO(csv_text(("name",), [(hostile,)]), newline="")))
    assert rows == [["name"], [f"'{hostile}"]]


def test_numbers_stay_numbers_and_nothing_is_empty():
    assert csv_text(("a", "b", "c"), [(-1.5, None, 'say "a, b"')]) == 'a,b,c\r\n-1.5,,"say ""a, b"""\r\n'
