"""Records are removed for good: files are written again without them, and labels go with them."""

from __future__ import annotations

import threading

import pyarrow.parquet as pq
import pytest

from lading.errors import StillInUse, UsageError
from lading.monitor.log.deletion import close_segments, delete_records, matching
from lading.monitor.log.layout import LABELS
from lading.monitor.log.reader import open_log
from support.predictions import NOON, LogMaker, chunk, parquet_files


@pytest.fixture
def log(tmp_path):
    return LogMaker(tmp_path / "log")


def delete(log: LogMaker, where: str) -> int:
    reader = open_log(str(log.root))
    close_segments(reader, "iris")
    return delete_records(reader, "iris", matching(reader, "iris", where))


def ids(log: LogMaker) -> list[str]:
    table = open_log(str(log.root)).query("iris", "SELECT id FROM log ORDER BY id")
    return table["id"].to_pylist()


def test_records_that_match_go_and_all_others_stay_as_they_are(log):
    log.add(chunk(["a", "b", "c"]))
    log.add(chunk(["d"], ended_at=[NOON + 7200]))
    log.close()
    before = {path: path.read_bytes() for path in parquet_files(log.root)}
    schema = pq.read_schema(next(iter(before)))
    assert delete(log, "id = 'b'") == 1
    assert ids(log) == ["a", "c", "d"]
    changed = [path for path in before if path.read_bytes() != before[path]]
    assert len(changed) == 1
    assert pq.read_schema(changed[0]) == schema


def test_labels_of_a_removed_record_go_with_it(log):
    log.add(chunk(["a", "b"]))
    log.label("a", "secret")
    log.label("b", "x")
    log.close()
    assert delete(log, "label = 'secret'") == 1
    labels = [path.read_bytes() for path in (log.root / LABELS).rglob("*.parquet")]
    assert labels
    assert not any(b"secret" in data for data in labels)
    assert ids(log) == ["b"]


def test_a_file_without_records_is_removed(log):
    log.add(chunk(["a"]))
    log.close()
    assert delete(log, "true") == 1
    assert parquet_files(log.root) == []


def test_segments_that_a_writer_left_are_searched_too(log):
    log.add(chunk(["a", "b"]))
    log.flush()
    log.journal.close()  # As when its process has ended.
    assert delete(log, "id = 'a'") == 1
    assert ids(log) == ["b"]


@pytest.mark.slow
def test_a_running_writer_closes_its_segments_for_it(log):
    log.add(chunk(["a", "b"]))
    log.flush()
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(0.02):
            log.journal.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert delete(log, "id = 'a'") == 1
    finally:
        ended.set()
        writer.join()
    assert ids(log) == ["b"]


def test_a_writer_that_does_not_answer_is_named(log):
    log.add(chunk(["a"]))
    log.flush()
    with pytest.raises(StillInUse, match="found 1 open"):
        close_segments(open_log(str(log.root)), "iris", timeout_s=0.1)


@pytest.mark.parametrize("where", ["nothing = 1", "id = 'a') OR (true", "true); DROP VIEW log; --"])
def test_a_condition_that_is_none_removes_nothing(log, where):
    log.add(chunk(["a"]))
    log.close()
    with pytest.raises(UsageError):
        delete(log, where)
    assert ids(log) == ["a"]
