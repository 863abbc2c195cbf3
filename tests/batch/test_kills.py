"""Runs that are killed at every nineteenth moment: every row once, and the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from lading.batch import plan as planning
from lading.batch.checking import check_output
from lading.batch.run import Options, run_batch
from lading.errors import BatchChanged, DestinationExists, LadingError
from support.batch_runs import COLUMNS, files
from support.killed_runs import MOMENTS, forks, run_killed
from support.waiting import wait_until

ROWS = 4000
KEPT = Options(keep=("customer",), processes=1)


@pytest.fixture(scope="module", autouse=True)
def _parts_of_500_rows() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "PART_ROWS", 500)
        yield


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Return a folder in memory: what is killed here is a process, and no disk has to be waited for."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        yield Path(name)


def write_rows(path: Path, seed: int) -> None:
    """Write eight parts of rows, one row in a hundred without a value."""
    values = np.random.default_rng(seed).uniform(0, 7, (ROWS, 4))
    values[::100, 3] = np.nan
    columns = {name: values[:, at] for at, name in enumerate(COLUMNS)}
    table = pyarrow.table({**columns, "customer": np.arange(ROWS)})
    pyarrow.parquet.write_table(table, path, row_group_size=500)


@pytest.fixture(scope="module")
def source(folder) -> Path:
    """Return a file that becomes eight parts."""
    path: Path = folder / "rows.parquet"
    write_rows(path, 0)
    return path


@pytest.fixture(scope="module")
def finished(folder, iris, source) -> Path:
    """Return the output of a run that nobody killed."""
    run = run_batch(iris, [source], folder / "whole", KEPT)
    assert (run.manifest.rows, run.manifest.rejected) == (ROWS, ROWS // 100)
    return folder / "whole"


@pytest.fixture(scope="module")
def whole(finished) -> dict[str, bytes]:
    """Return the files of that run."""
    return files(finished)


@pytest.fixture
def out(folder) -> Path:
    """Return a place for an output. A worker of an earlier test, whose driver was killed, may still write."""
    return Path(tempfile.mkdtemp(dir=folder)) / "out"


def rows_of(out: Path) -> list[int]:
    paths = (*out.glob("part-*"), *(out / "rejected").glob("part-*"))
    return sorted(row for path in paths for row in pyarrow.parquet.read_table(path)["row"].to_pylist())


@pytest.mark.slow
def test_a_process_that_is_killed_at_every_nineteenth_moment_goes_on(folder, iris, source, whole):
    with forks(folder / "run.py", iris.path, source) as runs:
        assert runs.run(folder / "first", 0) == 0
        steps = runs.steps(folder / "first")
        assert steps > 5 * MOMENTS
        assert files(folder / "first") == whole
        for number in range(MOMENTS):
            out = folder / f"out-{number}"
            assert runs.run(out, 1 + number * (steps - 1) // (MOMENTS - 1)) == -9
            if number % 4 == 0:  # Once more on its way back.
                runs.run(out, 20 + number)
            assert runs.run(out, 0) == 0
            assert files(out) == whole
            assert rows_of(out) == list(range(ROWS))
            assert not list((out / ".lading").rglob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [pytest.param(at, marks=[] if at == 9 else pytest.mark.wide) for at in range(19)]
)
@pytest.mark.parametrize("whom", ["worker", "group", "driver"])
def test_a_worker_the_group_or_the_command_alone_is_killed(folder, iris, source, whole, out, whom, number):
    # Of a run with two processes the command has about 100 moments, and each worker about 60.
    moment = 1 + number * (3 if whom == "worker" else 5)
    Path(f"{out}.killed").unlink(missing_ok=True)
    run = run_killed(folder / "run.py", iris.path, source, out, whom=whom, moment=moment)
    if whom == "worker":
        # The run itself goes on: the part that the process was at is scored by another.
        assert Path(f"{out}.killed").exists()
        assert run == 0
    else:
        assert run == -9
        wait_until(lambda: not _is_held(out))
        run_batch(iris, [source], out, KEPT)
    assert files(out) == whole
    assert rows_of(out) == list(range(ROWS))


def _is_held(out: Path) -> bool:
    """Return whether workers of a command that was killed are still at work."""
    listed = subprocess.run(["pgrep", "-f", str(out.parent / "run.py")], capture_output=True, check=False)
    return bool(listed.stdout.split())


Spoil = Callable[[Path], None]


def _first(out: Path, pattern: str) -> Path:
    return min(out.glob(pattern))


def _changed(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _another_plan(out: Path) -> None:
    path = _first(out, ".lading/done/*")
    record = json.loads(path.read_bytes())
    path.with_name("other.json").write_text(json.dumps({**record, "part": "part-000000-other.parquet"}))


def _edited_manifest(out: Path) -> None:
    path = out / "manifest.json"
    path.write_text(path.read_text().replace('"scored": 3960', '"scored": 4000'))


SPOILED: list[tuple[str, Spoil, str]] = [
    ("a part is missing", lambda out: _first(out, "**/part-*.parquet").unlink(), "found none"),
    ("a part has changed", lambda out: _changed(_first(out, "**/part-*.parquet")), "other bytes"),
    (
        "what was set aside has changed",
        lambda out: _changed(_first(out, "**/rejected/part-*")),
        "other bytes",
    ),
    ("a record is of another plan", _another_plan, "a part of this run"),
    ("a record is cut off", lambda out: _truncated(_first(out, ".lading/done/*")), "what a run wrote"),
    ("the plan is cut off", lambda out: _truncated(out / ".lading/plan.json"), "what a run wrote"),
    (
        "a part too many",
        lambda out: shutil.copy(_first(out, "**/part-*.parquet"), out / "part-000099-x.parquet"),
        "as well",
    ),
]
FINISHED: list[tuple[str, Spoil, str]] = [
    ("the manifest is cut off", lambda out: _truncated(out / "manifest.json"), "found another"),
    ("the manifest was edited", _edited_manifest, "found another"),
    ("the state was removed", lambda out: shutil.rmtree(out / ".lading"), ""),
]


@pytest.fixture(scope="module")
def killed(folder, iris, source) -> Path:
    """Return the output of a run that was killed after some parts."""
    with forks(folder / "run.py", iris.path, source) as runs:
        assert runs.run(folder / "killed", 60) == -9
    assert list((folder / "killed/.lading/done").glob("*"))
    return folder / "killed"


@pytest.fixture
def begun(killed, out) -> Path:
    """Return a copy of it."""
    return Path(shutil.copytree(killed, out))


@pytest.fixture
def done(finished, out) -> Path:
    """Return a copy of the output of a run that nobody killed."""
    return Path(shutil.copytree(finished, out))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "spoil", "sentence"), SPOILED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_ledger_that_disagrees_with_the_files_is_found(iris, source, begun, kind, spoil, sentence):
    spoil(begun)
    with pytest.raises(BatchChanged, match=sentence):
        run_batch(iris, [source], begun, KEPT)
    assert not (begun / "manifest.json").exists()


@pytest.mark.parametrize(
    ("kind", "spoil", "sentence"),
    [*SPOILED, *FINISHED],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_finished_run_that_was_changed_is_found(iris, source, whole, done, kind, spoil, sentence):
    spoil(done)
    if not sentence:
        # All is scored again, and must come out as it was.
        run_batch(iris, [source], done, KEPT)
        assert files(done) == whole
        return
    with pytest.raises(BatchChanged, match=sentence):
        run_batch(iris, [source], done, KEPT)


def test_a_manifest_that_was_removed_is_written_as_it_was(iris, source, whole, done):
    (done / "manifest.json").unlink()
    run_batch(iris, [source], done, KEPT)
    assert files(done) == whole


@pytest.mark.slow
def test_an_input_that_changed_between_start_and_resume_is_refused(tmp_path, iris, begun):
    write_rows(tmp_path / "rows.parquet", 1)
    with pytest.raises(BatchChanged, match=r"`rows\.parquet` changed since"):
        run_batch(iris, [tmp_path / "rows.parquet"], begun, KEPT)


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="needs a user who can mount a small disk")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_full_disk_ends_in_a_sentence_and_the_run_goes_on_once_there_is_room(
    iris, source, whole, processes
):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", name], check=True)
        try:
            options = Options(keep=("customer",), processes=processes)
            with pytest.raises(LadingError, match="no space left on device") as caught:
                run_batch(iris, [source], folder / "out", options)
            assert "output" in caught.value.where
            assert not (folder / "out/manifest.json").exists()
            subprocess.run(["mount", "-o", "remount,size=4m", name], check=True)
            run_batch(iris, [source], folder / "out", KEPT)
            assert files(folder / "out") == whole
            assert check_output(folder / "out").manifest.rows == ROWS
        finally:
            subprocess.run(["umount", name], check=True)


def test_parts_without_a_state_and_a_manifest_are_never_taken_for_a_run(iris, source, done):
    shutil.rmtree(done / ".lading")
    (done / "manifest.json").unlink()
    with pytest.raises(DestinationExists):
        run_batch(iris, [source], done, KEPT)
