"""A run that was killed at any moment goes on, and its output is that of a run that nobody killed."""

from __future__ import annotations

import json
import os
import signal
import time
from functools import partial
from pathlib import Path

import pyarrow.parquet
import pytest

from lading.batch import plan as planning
from lading.batch.checking import check_against
from lading.batch.ledger import Ledger
from lading.batch.recording import Recorder
from lading.batch.run import Options, run_batch
from lading.errors import BatchChanged, OutputInUse
from support.batch_runs import dirty, files, has_come_to
from support.waiting import wait_until


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(
    tmp_path, iris, table, start, monkeypatch
):
    source = dirty(tmp_path / "rows.parquet", table)
    out, kills = tmp_path / "out", 0
    done = out / ".lading/done"
    while True:
        # Each time after a few more parts, at whatever moment of one that is.
        enough = (len(list(done.glob("*.json"))) if done.is_dir() else 0) + 3
        process = start(source, out)
        wait_until(partial(has_come_to, process, done, enough))
        if process.poll() is not None:
            break
        time.sleep(kills * 0.0007)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert process.returncode == 0, process.stderr.read()
    assert kills >= 5
    monkeypatch.setattr(planning, "PART_ROWS", 500)
    run = run_batch(iris, [source], tmp_path / "whole", Options(keep=("customer",), processes=1))
    assert files(out) == files(tmp_path / "whole")
    assert (run.manifest.rows, run.manifest.scored, run.manifest.rejected) == (20_000, 19_800, 200)
    rows = [
        row
        for path in (*out.glob("part-*"), *(out / "rejected").glob("part-*"))
        for row in pyarrow.parquet.read_table(path)["row"].to_pylist()
    ]
    assert sorted(rows) == list(range(20_000))


@pytest.mark.slow
def test_two_runs_into_one_folder_refuse_each_other(tmp_path, iris, table, parquet, start):
    source, out = parquet("rows.parquet", 2000, group=10), tmp_path / "out"
    with Ledger(out).holding():
        process = start(source, out)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert b"found one that is at work" in errors
        with pytest.raises(OutputInUse, match="at work"):
            run_batch(iris, [source], out, Options(processes=1))
    run_batch(iris, [source], out, Options(processes=1))


def begun(tmp_path: Path, iris, source: Path, monkeypatch) -> Path:
    """Begin a run and stop it after its first part."""
    monkeypatch.setattr(planning, "PART_ROWS", 500)

    def stop(*_counts: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_batch(iris, [source], tmp_path / "out", Options(processes=1), recorder=Recorder(progress=stop))
    return tmp_path / "out"


def test_an_input_that_was_changed_in_between_is_refused(tmp_path, iris, parquet, monkeypatch):
    source = parquet("rows.parquet", 2000, group=500)
    out = begun(tmp_path, iris, source, monkeypatch)
    parquet("rows.parquet", 2000, group=500, seed=1)
    with pytest.raises(BatchChanged, match=r"`rows\.parquet` changed"):
        run_batch(iris, [source], out, Options(processes=1))
    assert not (out / "manifest.json").exists()


def test_an_input_that_changes_while_it_is_scored_publishes_nothing(tmp_path, iris, parquet, monkeypatch):
    monkeypatch.setattr(planning, "PART_ROWS", 500)
    source = parquet("rows.parquet", 2000, group=500)

    def touch(*_counts: int) -> None:
        os.utime(source, ns=(1, 1))

    with pytest.raises(BatchChanged, match="the bytes it had at the start"):
        run_batch(iris, [source], tmp_path / "out", Options(processes=1), recorder=Recorder(progress=touch))
    assert not (tmp_path / "out/manifest.json").exists()


def test_a_ledger_that_does_not_agree_with_the_files_is_found(tmp_path, iris, parquet, monkeypatch):
    source = parquet("rows.parquet", 2000, group=500)
    out = begun(tmp_path, iris, source, monkeypatch)
    part = next((out / ".lading/parts").glob("part-*"))
    whole = part.read_bytes()
    part.write_bytes(whole[:100] + b"x" + whole[101:])
    with pytest.raises(BatchChanged, match="the bytes that were written") as caught:
        run_batch(iris, [source], out, Options(processes=1))
    record = caught.value.hint.split("`")[1]
    # What the hint says helps.
    Path(record).unlink()
    run = run_batch(iris, [source], out, Options(processes=1))
    assert run.manifest.scored == 2000
    assert check_against(out, iris, [source], tmp_path / "scratch", again=9).rescored == 4


def test_a_record_of_another_run_is_found(tmp_path, iris, parquet, monkeypatch):
    source = parquet("rows.parquet", 2000, group=500)
    out = begun(tmp_path, iris, source, monkeypatch)
    path = next((out / ".lading/done").glob("*.json"))
    record = json.loads(path.read_bytes())
    path.with_name("other.json").write_text(json.dumps({**record, "part": "part-000000-other.parquet"}))
    with pytest.raises(BatchChanged, match="a part of this run"):
        run_batch(iris, [source], out, Options(processes=1))
