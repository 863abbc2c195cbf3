"""Which files are read, and which are not."""

from __future__ import annotations

import pytest

from lading.batch.run import Options, run_batch
from lading.errors import (
    UsageError,
)
from support.batch_runs import HERE


def test_what_is_no_file_of_rows_is_named_or_refused(tmp_path, iris, parquet):
    path = parquet("days/a.parquet", 3)
    (tmp_path / "days/notes.txt").write_text("hello")
    (tmp_path / "days/_SUCCESS").write_text("")
    run = run_batch(iris, [tmp_path / "days"], tmp_path / "out", Options(processes=1))
    assert run.left_out == ("notes.txt",)
    for wrong in (tmp_path / "days/notes.txt", tmp_path / "nothing", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(UsageError):
            run_batch(iris, [path, wrong] if wrong.name != "empty" else [wrong], tmp_path / "other", HERE)
