"""Records on their way to the disk: what fails is dropped and counted, and the next are tried again."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal

import pytest

from lading.log_frames import LABELS_VERSION, Receipt
from lading.monitor.log.journal import Journal
from lading.monitor.log.keeper import convert_closed
from lading.monitor.log.layout import CLOSE_REQUEST, SEGMENTS
from lading.monitor.log.reader import open_log
from lading.monitor.log.segments import segment_paths
from support.predictions import NOON, LogMaker, chunk, parquet_files, writer_settings


def fill(path) -> None:
    """Write to a file until its disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(b"0" * 4096):
            pass


def count(root) -> int:
    return open_log(str(root)).query("iris", "SELECT count(*) AS n FROM log")["n"][0].as_py()


def test_every_record_has_a_receipt(tmp_path):
    log = LogMaker(tmp_path)
    log.add(chunk(["a", "b"], rows=[2, 1]))
    log.label("a", "x", "y")
    assert log.receipts == []
    log.flush()
    assert log.receipts == [Receipt("iris", 1, "", 3), Receipt("iris", LABELS_VERSION, "", 2)]


def test_records_that_do_not_fit_on_the_disk_are_dropped_and_the_next_are_written(tmp_path):
    """A limit on the size of files stands for a full disk: half a batch is written, then no more."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    log = LogMaker(tmp_path)
    log.add(chunk(["a"]))
    log.flush()
    (segment,) = segment_paths(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (segment.stat().st_size + 100, before[1]))
    try:
        log.add(chunk(["b"]))
        log.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert log.receipts[1:] == [Receipt("iris", 1, "disk_full", 1)]
    log.add(chunk(["c"]))
    log.flush()
    assert log.receipts[2:] == [Receipt("iris", 1, "", 1)]
    log.close()
    rows = open_log(str(tmp_path)).query("iris", "SELECT id FROM log ORDER BY id").to_pylist()
    assert [row["id"] for row in rows] == ["a", "c"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
@pytest.mark.slow
def test_a_full_file_system_costs_no_more_than_what_came_meanwhile(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    if os.system(f"mount -t tmpfs -o size=256k tmpfs {folder}"):
        pytest.skip("no mounts here")
    try:
        log = LogMaker(folder / "log")
        log.add(chunk(["a"]))
        log.flush()
        fill(folder / "other")
        log.add(chunk([f"{number:06d}" for number in range(3000)]))
        log.flush()
        assert log.receipts[-1] == Receipt("iris", 1, "disk_full", 3000)
        with pytest.raises(OSError, match="No space left"):  # No Parquet file either: the segment stays.
            log.close()
        (folder / "other").unlink()
        convert_closed(folder / "log")
        assert count(folder / "log") == 1
    finally:
        os.system(f"umount {folder}")


def test_a_folder_that_was_removed_is_made_again(tmp_path):
    root = tmp_path / "log"
    log = LogMaker(root)
    log.add(chunk(["a"]))
    log.flush()
    shutil.rmtree(root)
    log.add(chunk(["b"]))
    log.flush()
    assert log.receipts[-1].reason == ""
    assert count(root) == 1


def test_records_are_dropped_while_the_folder_cannot_be_made(tmp_path):
    root = tmp_path / "volume" / "log"
    (tmp_path / "volume").write_text("not mounted")
    log = LogMaker(root)
    log.add(chunk(["a"]))
    log.flush()
    assert log.receipts == [Receipt("iris", 1, "disk", 1)]
    (tmp_path / "volume").unlink()
    log.add(chunk(["b"]))
    log.flush()
    assert log.receipts[1:] == [Receipt("iris", 1, "", 1)]


def test_without_room_records_are_dropped_for_the_reason_that_is_stated(tmp_path):
    log = LogMaker(tmp_path)
    reasons = ["bucket", ""]
    log.journal = Journal(tmp_path, writer_settings(tmp_path), lambda: reasons.pop(0))
    log.add(chunk(["a"]))
    log.add(chunk(["b"]))
    log.flush()
    assert log.receipts == [Receipt("iris", 1, "bucket", 1), Receipt("iris", 1, "", 1)]


@pytest.mark.parametrize(
    "settings", [{"segment_bytes": 1}, {"segment_s": 0.0}], ids=["by its size", "by its age"]
)
def test_a_segment_is_closed(tmp_path, settings):
    log = LogMaker(tmp_path, **settings)
    log.add(chunk(["a"]))
    assert log.journal.flush()
    convert_closed(tmp_path)
    assert len(parquet_files(tmp_path)) == 1
    assert segment_paths(tmp_path) == []


def test_a_segment_is_closed_when_its_hour_is_over(tmp_path):
    now = [NOON + 3599]
    log = LogMaker(tmp_path)
    log.journal = Journal(tmp_path, writer_settings(tmp_path), clock=lambda: now[0])
    log.add(chunk(["a"], ended_at=[NOON + 3599]))
    assert not log.journal.flush()
    now[0] = NOON + 3604
    assert not log.journal.flush()  # Answers of the last hour may still be under way.
    now[0] = NOON + 3606
    assert log.journal.flush()


def test_a_reader_may_ask_for_segments_to_be_closed(tmp_path):
    log = LogMaker(tmp_path)
    log.add(chunk(["a"]))
    assert not log.journal.flush()
    request = tmp_path / SEGMENTS / CLOSE_REQUEST
    request.touch()
    os.utime(request, (NOON * 2, NOON * 2))
    assert log.journal.flush()
    assert not log.journal.flush()  # Once for each request.
