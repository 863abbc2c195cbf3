"""``lading monitor report``: one file, where it was asked for."""

from __future__ import annotations

import pytest


@pytest.mark.usefixtures("windows")
def test_a_page_is_written_and_its_name_printed(lading, tmp_path):
    code, out, _ = lading("monitor", "report", "iris", "--since", "1d")
    assert (code, out) == (0, "iris-report.html\n")
    page = (tmp_path / "iris-report.html").read_text()
    assert "<html" in page
    assert "income" in page
    assert "<script" not in page


@pytest.mark.usefixtures("windows")
def test_a_place_that_cannot_be_written_to_is_an_error(lading, tmp_path):
    code, _, err = lading("monitor", "report", "iris", "-o", tmp_path / "nowhere" / "iris.html")
    assert code != 0
    assert "nowhere" in err
