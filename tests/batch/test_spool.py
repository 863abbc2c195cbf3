"""Copies of objects on this machine: one for all, verified, and gone when nobody needs it."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

from lading.batch.inputs import InputFile, find_inputs
from lading.batch.spool import Spool, room_bytes, spooling
from lading.blobs.locks import is_unlocked
from lading.errors import BatchChanged, UsageError

pytestmark = pytest.mark.slow


@pytest.fixture
def listed(bucket) -> list[InputFile]:
    """Return three objects of 1,000 bytes as they are listed."""
    for name in ("a.csv", "b.csv.gz", "c.jsonl"):
        bucket.put(f"in/{name}", name.encode() * 1000)
    return list(find_inputs([f"{bucket.url}/in"]).files)


def copies() -> list[Path]:
    folder = Path(tempfile.gettempdir())
    return [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]


def test_a_copy_has_the_bytes_and_their_digest_and_stays_until_the_next_one(listed):
    spool = Spool()
    for file in listed:
        copy = spool.fetch(file)
        content = Path(copy.path).read_bytes()
        assert content == file.name.encode() * 1000
        assert copy.sha256 == hashlib.sha256(content).hexdigest()
        assert copy.path.endswith(".gz") == file.name.endswith(".gz")
        assert copies() == [Path(copy.path)]
    spool.close()
    assert copies() == []


def test_as_many_copies_as_there_is_room_for_are_kept(listed):
    spool = Spool(keep_bytes=listed[0].size_bytes + listed[1].size_bytes)
    for file in (*listed, *listed):
        spool.fetch(file)
        assert len(copies()) <= 3
    assert len(copies()) == 3
    spool.close()
    assert copies() == []


def test_two_readers_have_one_copy_which_the_last_one_removes(listed):
    first, second = Spool(), Spool()
    assert first.fetch(listed[0]).path == second.fetch(listed[0]).path
    first.close()
    assert len(copies()) == 1
    second.close()
    assert copies() == []


def test_bytes_other_than_those_of_the_plan_are_refused(listed):
    spool = Spool()
    with pytest.raises(BatchChanged, match="the bytes it had at the start"):
        spool.fetch(msgspec.structs.replace(listed[0], sha256="0" * 64))
    assert copies() == []
    other = Spool()
    other.fetch(listed[0])
    with pytest.raises(BatchChanged, match="the bytes it had at the start"):
        spool.fetch(msgspec.structs.replace(listed[0], sha256="0" * 64))
    for each in (spool, other):
        each.close()


HOLDS = """
import sys, tempfile
from lading.batch.inputs import find_inputs
from lading.batch.spool import Spool
spool = Spool()
spool.fetch(find_inputs([sys.argv[1]]).files[0])
with spool.scratch() as folder:
    (folder / "half").write_text("a part")
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_leaves_is_swept_and_what_a_living_one_has_is_not(listed, bucket):
    command = [sys.executable, "-c", HOLDS, f"{bucket.url}/in/a.csv"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n"
        Spool().sweep()
        assert len(copies()) == 2
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    Spool().sweep()
    assert copies() == []


def test_scratch_is_locked_while_it_is_used():
    spool = Spool()
    with spool.scratch() as folder:
        assert not is_unlocked(folder)
    assert not folder.exists()


def test_a_folder_of_another_user_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"lading-batch-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="a folder of this user") as caught, Spool().scratch():
        pass
    assert "TMPDIR" in caught.value.hint


def test_the_copies_of_a_run_are_gone_at_its_end(listed):
    with spooling() as spool:
        for file in listed:
            spool.fetch(file)
        assert len(copies()) == 3
    assert copies() == []


def test_room_is_a_part_of_what_is_free():
    assert 0 < room_bytes() <= 16 << 30
