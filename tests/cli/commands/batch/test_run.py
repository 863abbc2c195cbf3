"""``lading batch``: what people type, and what they read."""

from __future__ import annotations

import json
import re
import sys

from support.bundles import linear_bundle


def test_a_model_stands_where_the_command_could(lading, tmp_path, rows):
    linear_bundle(tmp_path / "iris")
    out = tmp_path / "out"
    code, printed, notes = lading("batch", str(tmp_path / "iris"), "--input", str(rows), "--output", str(out))
    assert (code, printed) == (0, "")
    assert "scored 99 of 100 rows of iris" in notes
    assert "1 × column `petal_width`: expected `float32`, found no value" in notes
    assert "drift: not known; the bundle has no profile of its training data" in notes


def test_a_mistyped_command_is_no_model(lading):
    code, _, notes = lading("batch", "verfy")
    assert code == 2
    assert "did you mean `verify`" in notes


def test_a_run_as_json_is_one_document(lading, tmp_path, rows):
    linear_bundle(tmp_path / "iris")
    arguments = ("--input", str(rows), "--output", str(tmp_path / "out"), "--json")
    code, printed, _ = lading("batch", "run", str(tmp_path / "iris"), *arguments)
    assert code == 0
    assert json.loads(printed)["manifest"]["rejected"] == 1


def test_too_many_rows_that_do_not_fit_are_refused(lading, tmp_path, rows):
    linear_bundle(tmp_path / "iris")
    arguments = ("--input", str(rows), "--output", str(tmp_path / "out"), "--max-rejected", "0.5%")
    code, _, notes = lading("batch", str(tmp_path / "iris"), *arguments)
    assert code == 1
    assert "rows set aside: expected at most 0.5 %, found 1 of 100" in notes


def test_a_log_gets_a_line_of_progress_now_and_then(lading, tmp_path, rows, monkeypatch):
    # By its name: in the package, `run` is the command.
    monkeypatch.setattr(sys.modules["lading.cli.commands.batch.run"], "_LOG_EVERY_S", 0.0)
    linear_bundle(tmp_path / "iris")
    out = str(tmp_path / "out")
    _, _, notes = lading("batch", str(tmp_path / "iris"), "--input", str(rows), "--output", out)
    assert re.match(r"1 of 1 parts, [\d,]+ rows/s, 0 s left\n", notes)
