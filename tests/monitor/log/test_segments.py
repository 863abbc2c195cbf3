"""Segments: who holds one, what a cut one still has, and that a write that fails leaves it as it was."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lading.monitor.log.keeper import convert_closed
from lading.monitor.log.layout import Contents
from lading.monitor.log.segments import Segment, read_segment, segment_paths, taken_over
from support.predictions import NOON, LogMaker, chunk, parquet_files

SCHEMA = pa.schema([("id", pa.string())])
CONTENTS = Contents(kind="labels", model="iris", hour=int(NOON))


@pytest.fixture
def log(tmp_path):
    return LogMaker(tmp_path)


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


def test_a_segment_says_what_its_records_have_in_common(tmp_path):
    segment = Segment(tmp_path, CONTENTS, SCHEMA, NOON)
    segment.append(pa.record_batch({"id": ["a", "b"]}))
    segment.close()
    contents, schema, batches = read_segment(segment.path)
    assert (contents, schema) == (CONTENTS, SCHEMA)
    assert [batch.num_rows for batch in batches] == [2]


def test_a_segment_is_taken_over_only_when_its_writer_has_closed_it(tmp_path):
    segment = Segment(tmp_path, CONTENTS, SCHEMA, NOON)
    with taken_over(segment.path) as is_ours:
        assert not is_ours
    segment.close()
    with taken_over(segment.path) as is_ours:
        assert is_ours
    segment.path.unlink()
    with taken_over(segment.path) as is_ours:
        assert not is_ours


def test_a_segment_notices_that_its_file_is_gone_or_another(tmp_path):
    segment = Segment(tmp_path, CONTENTS, SCHEMA, NOON)
    assert segment.exists
    segment.path.unlink()
    assert not segment.exists
    segment.path.touch()
    assert not segment.exists
    segment.close()


def test_a_log_that_does_not_exist_has_no_segments(tmp_path):
    assert segment_paths(tmp_path / "nowhere") == []
