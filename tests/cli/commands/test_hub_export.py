"""`lading hub export`: what it prints, and what it refuses before anything is written."""

from __future__ import annotations

import json

import pytest


@pytest.mark.slow
def test_the_first_file_to_open_is_printed_and_json_counts_the_pages(lading, filled, tmp_path):
    code, out, err = lading("hub", "export", "audit")
    assert (code, out) == (0, "audit/index.html\n"), err
    assert (tmp_path / "audit" / "SHA256SUMS").is_file()
    done = json.loads(lading("hub", "export", "audit", "--model", "iris", "--json")[1])
    assert done["folder"] == "audit"
    assert [model["name"] for model in done["export"]["models"]] == ["iris"]


def test_a_model_that_nobody_has_pushed_is_not_exported(lading, filled, tmp_path):
    code, out, err = lading("hub", "export", "audit", "--model", "irs")
    assert (code, out) == (3, "")
    assert "`irs`" in err
    assert not (tmp_path / "audit").exists()
