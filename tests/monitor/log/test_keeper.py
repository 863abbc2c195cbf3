"""What happens to a log besides writing: Parquet files of segments, and the oldest files that go."""

from __future__ import annotations

import os

import pyarrow.parquet as pq
import pytest

from lading.monitor.log.files import MOST_GROUP_ROWS
from lading.monitor.log.keeper import Keeper, beyond_limits, convert_closed, remove_leftovers
from lading.monitor.log.layout import SEGMENTS
from lading.monitor.log.segments import segment_paths
from support.predictions import NOON, LogMaker, chunk, parquet_files

DAY_S = 86_400


@pytest.fixture
def log(tmp_path):
    return LogMaker(tmp_path)


def test_a_segment_that_a_writer_holds_is_left_alone(log):
    log.add(chunk(["a"]))
    log.flush()
    assert convert_closed(log.root) == 0
    log.journal.close()
    assert convert_closed(log.root) == 1


def test_a_segment_is_read_up_to_its_last_whole_batch(log):
    log.add(chunk(["a"]))
    log.flush()
    log.add(chunk(["b"]))
    log.flush()
    log.journal.close()
    (segment,) = segment_paths(log.root)
    whole = segment.read_bytes()
    sizes = set()
    for cut in range(len(whole) - 1, 0, -97):
        segment.write_bytes(whole[:cut])
        convert_closed(log.root)
        files = parquet_files(log.root)
        rows = pq.read_table(files[0]).column("id").to_pylist() if files else []
        assert rows in ([], ["a"], ["a", "b"])
        sizes.add(len(rows))
        for path in files:
            path.unlink()
    assert sizes >= {0, 1}


def test_a_killed_conversion_is_done_again_and_one_that_was_complete_is_not(log):
    log.add(chunk(["a"]))
    log.journal.close()
    (segment,) = segment_paths(log.root)
    data = segment.read_bytes()
    convert_closed(log.root)
    (path,) = parquet_files(log.root)
    segment.write_bytes(data)  # Killed after the rename, before the segment was removed.
    os.utime(path, (1, 1))
    convert_closed(log.root)
    assert parquet_files(log.root) == [path]
    assert path.stat().st_mtime == 1
    assert segment_paths(log.root) == []


def test_a_file_is_sorted_by_time_in_groups(log):
    ids = [f"{number:06d}" for number in range(100)]
    count = MOST_GROUP_ROWS // len(ids) * 2 + 10
    for number in range(count):
        at = NOON + number / 10 + (1.5 if number % 2 else 0)  # One worker is later than the other.
        log.add(chunk(ids, ended_at=[at] * len(ids)))
        if log.journal.must_flush or number % 20 == 0:
            log.flush()
    log.close()
    (path,) = parquet_files(log.root)
    times = pq.read_table(path).column("time").to_pylist()
    assert times == sorted(times)
    assert pq.read_metadata(path).num_row_groups > 1


def test_files_of_old_hours_go(log):
    for days in (0, 10, 20):
        log.add(chunk([f"day {days}"], ended_at=[NOON + DAY_S * days]))
    log.label("a", "x", at=NOON)
    log.close()
    Keeper(log.root, max_age_days=15).turn(NOON + 20 * DAY_S)
    names = [str(path.relative_to(log.root)) for path in log.root.rglob("*.parquet")]
    assert sorted(name[:27] for name in names) == [
        "model=iris/date=2026-12-10/",
        "model=iris/date=2026-12-20/",
    ]
    assert not (log.root / "model=iris" / "date=2026-11-30").exists()


def test_the_oldest_files_go_first_when_the_log_is_too_large(log):
    for days in range(4):
        log.add(chunk([f"day {days}"], ended_at=[NOON + DAY_S * days]))
    log.close()
    files = parquet_files(log.root)
    most = sum(path.stat().st_size for path in files[2:])
    assert list(beyond_limits(log.root, NOON, 0, most)) == files[:2]
    assert list(beyond_limits(log.root, NOON, 0, 10**9)) == []


def test_what_a_killed_process_left_half_written_goes_after_an_hour(log):
    folder = log.root / SEGMENTS
    folder.mkdir()
    names = [".a.new", ".b.parquet"]
    for name in names:
        (folder / name).touch()
    written_at = (folder / names[0]).stat().st_mtime
    remove_leftovers(log.root, written_at + 60)
    assert len(list(folder.iterdir())) == 2
    remove_leftovers(log.root, written_at + 3700)
    assert list(folder.iterdir()) == []
