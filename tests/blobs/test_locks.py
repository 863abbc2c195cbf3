"""Claims on files: what is held stays, what a killed writer left goes, over NFS as well."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lading.blobs.locks import claim, discard_if_abandoned, scratch

NOBODY = 65534
HOLDING = """
import fcntl, sys
if sys.argv[2] == "nfs":
    fcntl.flock = fcntl.lockf
from pathlib import Path
from lading.blobs.locks import claim
with claim(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["local", "nfs"])
def disk(request, monkeypatch) -> str:
    """A local disk, and NFS as far as locks go.

    A test run cannot count on an NFS server: Linux makes of `flock` there the very lock that `lockf` takes
    (flock(2)), which the kernel refuses, as an exclusive one, to whoever has the file open only for reading.
    """
    if request.param == "nfs":
        monkeypatch.setattr(fcntl, "flock", fcntl.lockf)
    return request.param


def test_an_abandoned_file_goes_and_one_that_another_process_writes_stays(tmp_path, disk):
    path = tmp_path / "blob.1234"
    command = [sys.executable, "-c", HOLDING, str(path), disk]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert discard_if_abandoned(path) is False
        assert path.exists()
        process.kill()
        process.wait()
    assert path.exists()
    assert discard_if_abandoned(path) is True
    assert not path.exists()
    assert discard_if_abandoned(path) is False


def test_a_claimed_file_goes_at_the_end_unless_it_was_renamed_away(tmp_path, disk):
    with claim(tmp_path / "one") as file:
        file.write(b"1")
    with claim(tmp_path / "two") as file:
        file.write(b"2")
        (tmp_path / "two").rename(tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_temporary_folder_is_empty_whatever_was_left_and_gone_at_the_end(tmp_path, disk):
    (tmp_path / "one.tmp").mkdir()
    (tmp_path / "one.tmp" / "half").touch()
    (tmp_path / "one.tmp.lock").touch()
    with scratch(tmp_path / "one.tmp") as folder:
        assert not folder.exists()
        folder.mkdir()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user may write to."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def test_an_abandoned_file_of_another_user_goes_too(shared):
    path = shared / "blob.1234"
    path.touch(mode=0o444)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    try:
        assert discard_if_abandoned(path) is True
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
