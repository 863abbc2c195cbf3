"""``lading batch``: what people type, and what they read."""

from __future__ import annotations

import json
import re
import sys

import pytest

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


def test_rows_that_an_expression_leaves_out_are_counted(lading, tmp_path, rows):
    linear_bundle(tmp_path / "iris")
    command = ("batch", str(tmp_path / "iris"), "--input", str(rows), "--output", str(tmp_path / "out"))
    code, _, notes = lading(*command, "--where", "petal_width is not null and petal_width < 100")
    assert code == 0
    assert "scored 99 of 100 rows of iris" in notes
    assert "left out by --where: 1 rows" in notes
    code, _, notes = lading("batch", "verify", str(tmp_path / "out"))
    assert "left out by --where: 1 rows, as `petal_width is not null and petal_width < 100`" in notes
    # An empty variable of a shell, or a name that nobody has.
    assert lading(*command, "--where", " ")[0] == 2
    code, _, notes = lading(*command[:-1], str(tmp_path / "other"), "--where", "petal_widht < 100")
    assert code == 1
    assert "hint: did you mean `petal_width`?" in notes


def test_a_url_that_is_not_read_is_refused(lading, tmp_path):
    linear_bundle(tmp_path / "iris")
    command = (
        "batch",
        str(tmp_path / "iris"),
        "--input",
        "gs://bucket/day",
        "--output",
        str(tmp_path / "out"),
    )
    code, _, notes = lading(*command)
    assert code == 2
    assert "expected a path or `s3://bucket/prefix`, found `gs://bucket/day`" in notes


@pytest.mark.slow
def test_a_run_from_a_bucket_to_a_bucket_is_one_command(lading, tmp_path, rows, s3_url, s3_buckets):
    linear_bundle(tmp_path / "iris")
    bucket, _, prefix = s3_url.removeprefix("s3://").partition("/")
    s3_buckets.put_object(Bucket=bucket, Key=f"{prefix}/day/rows.parquet", Body=rows.read_bytes())
    command = ("--input", f"{s3_url}/day", "--output", f"{s3_url}/out")
    code, _, notes = lading("batch", str(tmp_path / "iris"), *command)
    assert code == 0
    assert f"set aside: 1 rows, in {s3_url}/out/rejected" in notes
    assert f"written: {s3_url}/out" in notes
    code, _, notes = lading("batch", "verify", f"{s3_url}/out")
    assert code == 0
    assert f"{s3_url}/out is whole: 2 files, 100 rows of iris" in notes


def test_a_log_gets_a_line_of_progress_now_and_then(lading, tmp_path, rows, monkeypatch):
    # By its name: in the package, `run` is the command.
    monkeypatch.setattr(sys.modules["lading.cli.commands.batch.run"], "_LOG_EVERY_S", 0.0)
    linear_bundle(tmp_path / "iris")
    out = str(tmp_path / "out")
    _, _, notes = lading("batch", str(tmp_path / "iris"), "--input", str(rows), "--output", out)
    assert re.match(r"1 of 1 parts, [\d,]+ rows/s, 0 s left\n", notes)
