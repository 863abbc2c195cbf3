"""Locks on files and directories: what is locked stays, what a killed process left goes, over NFS as well."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lading.blobs.locks import (
    file_lock,
    file_lock_if_free,
    if_unlocked,
    is_unlocked,
    lock_directory,
    remove_if_unlocked,
    scratch_folder,
)

NOBODY = 65534
HOLDING = """
import fcntl, sys
if sys.argv[3] == "nfs":
    fcntl.flock = fcntl.lockf
from pathlib import Path
from lading.blobs.locks import file_lock, lock_directory
path = Path(sys.argv[2])
lock = file_lock(path) if sys.argv[1] == "file" else lock_directory(path)
if sys.argv[1] == "file":
    lock.__enter__()
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked_by_another(kind: str, path: Path, disk: str = "local") -> Iterator[subprocess.Popen]:
    """Have another process lock `path` until the block ends, or until it is killed."""
    command = [sys.executable, "-c", HOLDING, kind, str(path), disk]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.kill()


# Files.


@pytest.fixture(params=["local", "nfs"])
def disk(request, monkeypatch) -> str:
    """A local disk, and NFS as far as locks go.

    A test run cannot count on an NFS server: Linux makes of `flock` there the very lock that `lockf` takes
    (flock(2)), which the kernel refuses, as an exclusive one, to a process that only reads the file.
    """
    if request.param == "nfs":
        monkeypatch.setattr(fcntl, "flock", fcntl.lockf)
    return request.param


def test_an_abandoned_file_is_removed_and_one_that_another_process_has_locked_is_not(tmp_path, disk):
    path = tmp_path / "blob.1234"
    with locked_by_another("file", path, disk) as process:
        assert remove_if_unlocked(path) is False
        assert path.exists()
        process.kill()
        process.wait()
        assert path.exists()
        assert remove_if_unlocked(path) is True
    assert not path.exists()
    assert remove_if_unlocked(path) is False


def test_a_locked_file_is_removed_at_the_end_unless_it_was_renamed(tmp_path, disk):
    with file_lock(tmp_path / "one") as file:
        file.write(b"1")
    with file_lock(tmp_path / "two") as file:
        file.write(b"2")
        (tmp_path / "two").rename(tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_file_is_locked_at_once_or_not_at_all(tmp_path, disk):
    path = tmp_path / "one"
    with locked_by_another("file", path, disk) as process:
        with file_lock_if_free(path) as file:
            assert file is None
        assert path.exists()
        process.kill()
        process.wait()
        with file_lock_if_free(path) as file:
            assert file is not None
            assert remove_if_unlocked(path) is (disk == "nfs")  # a process shares its own locks there
    assert not path.exists()


def test_a_scratch_folder_is_empty_whatever_was_left_and_removed_at_the_end(tmp_path, disk):
    (tmp_path / "one.tmp").mkdir()
    (tmp_path / "one.tmp" / "half").touch()
    (tmp_path / "one.tmp.lock").touch()
    with scratch_folder(tmp_path / "one.tmp") as folder:
        assert not folder.exists()
        folder.mkdir()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user may write to."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def test_an_abandoned_file_of_another_user_is_removed(shared):
    path = shared / "blob.1234"
    path.touch(mode=0o444)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    try:
        assert remove_if_unlocked(path) is True
    finally:
        if os.getuid() == 0:
            os.seteuid(0)


# Directories.


def test_a_directory_is_locked_by_many_and_unlocked_once_the_last_has_released_it(tmp_path):
    first, second = lock_directory(tmp_path), lock_directory(tmp_path)
    first.release()
    first.release()
    assert not is_unlocked(tmp_path)
    second.release()
    assert is_unlocked(tmp_path)


def test_the_lock_on_a_directory_ends_with_the_process_that_holds_it(tmp_path):
    with locked_by_another("directory", tmp_path) as process:
        assert not if_unlocked(tmp_path, lambda: pytest.fail("another process holds it"))
        process.kill()
        process.wait()
        assert is_unlocked(tmp_path)


def test_a_directory_that_does_not_exist_can_be_neither_locked_nor_taken_away(tmp_path):
    assert lock_directory(tmp_path / "none") is None
    assert not if_unlocked(tmp_path / "none", lambda: pytest.fail("there is no directory"))


def test_a_lock_goes_along_when_its_directory_is_renamed(tmp_path):
    (tmp_path / "making").mkdir()
    lock = lock_directory(tmp_path / "making")
    lock.rename(tmp_path / "made")
    assert lock.path == tmp_path / "made"
    assert not is_unlocked(tmp_path / "made")
    lock.release()


def test_the_last_holder_may_take_a_directory_away_and_no_other(tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    lock, other = lock_directory(folder), lock_directory(folder)
    assert not lock.if_last(lambda: pytest.fail("another holds it"))
    other.release()
    assert lock.if_last(folder.rmdir)
    assert not folder.exists()
    lock.release()


def test_a_directory_that_was_replaced_meanwhile_is_not_taken_away_again(tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    lock = lock_directory(folder)
    folder.rename(tmp_path / "aside")
    folder.mkdir()
    assert lock.if_last(lambda: pytest.fail("it is another directory now"))
    lock.release()
