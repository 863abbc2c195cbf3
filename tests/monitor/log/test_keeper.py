"""What happens to a log besides writing: Parquet files of segments, and the oldest files that go."""

from __future__ import annotations

import pytest

from lading.monitor.log.keeper import Keeper, beyond_limits, convert_closed, remove_leftovers
from lading.monitor.log.layout import SEGMENTS
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
