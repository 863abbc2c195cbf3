"""Parquet files of segments: whole or not at all, sorted by time, with the columns of the header."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lading.monitor.log.files import MOST_GROUP_ROWS, parquet_of, write_file
from lading.monitor.log.keeper import convert_closed
from lading.monitor.log.segments import segment_paths
from support.predictions import NOON, LogMaker, chunk, parquet_files


@pytest.fixture
def log(tmp_path):
    return LogMaker(tmp_path)


@pytest.mark.slow
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


def test_what_is_the_same_for_all_records_of_a_segment_is_a_column_of_its_file(log):
    log.add(chunk(["a", "b"], release=4))
    log.close()
    table = pq.read_table(parquet_files(log.root)[0])
    assert table.column_names[2:7] == ["time", "version", "digest", "release", "replica"]
    assert table.column("release").to_pylist() == [4, 4]
    assert table.column("replica").to_pylist() == ["replica-1"] * 2


def test_files_are_not_for_everybody(log):
    log.add(chunk(["a"]))
    log.flush()
    (segment,) = segment_paths(log.root)
    assert segment.stat().st_mode & 0o007 == 0
    log.close()
    assert parquet_files(log.root)[0].stat().st_mode & 0o007 == 0


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    schema = pa.schema([("id", pa.string())])

    def tables():
        yield pa.table({"id": ["a"]})
        raise OSError(28, "No space left on device")

    path = tmp_path / "model=iris" / "a.parquet"
    with pytest.raises(OSError, match="No space"):
        write_file(path, tmp_path, schema, tables())
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
    assert not write_file(path, tmp_path, schema, iter([]))
    assert not path.exists()


def test_a_segment_without_records_has_no_file(log):
    log.add(chunk(["a"]))
    log.flush()
    log.journal.close()
    (segment,) = segment_paths(log.root)
    segment.write_bytes(segment.read_bytes()[:100])
    assert parquet_of(log.root, segment) is None
