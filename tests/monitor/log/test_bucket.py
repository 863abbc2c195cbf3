"""A log in a bucket: files go there, wait while it is unreachable, and are read from a copy of it."""

from __future__ import annotations

import pytest

from lading.errors import NotFound
from lading.monitor.log.bucket import Bucket, StoredFile, Uploader, beyond_limits
from lading.monitor.log.deletion import close_segments, delete_records, matching
from lading.monitor.log.labelled import newly_labelled
from lading.monitor.log.reader import open_log
from lading.server.observe.log_sender import LogSender
from lading.server.observe.prediction_log import PredictionLog
from lading.server.process.log_writer import LogWriter
from support.predictions import NOON, Counts, LogMaker, chunk, served, writer_settings
from support.store_servers import proxy
from support.waiting import wait_until

DAY_S = 86_400


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return LogMaker(tmp_path / "spool")


def uploader(log: LogMaker, url: str, **limits) -> Uploader:
    settings = {"max_age_days": 0, "max_bytes": 0, "spool_bytes": 10**9, **limits}
    return Uploader(log.root, Bucket(url), **settings)


def names(url: str) -> list[str]:
    return [file.name for file in Bucket(url).files()]


@pytest.mark.slow
def test_files_go_to_the_bucket_and_are_queried_there(log, s3_url):
    log.add(chunk(["a", "b"]))
    log.label("a", "x")
    log.close()
    uploader(log, s3_url).turn()
    assert list(log.root.rglob("*.parquet")) == []
    assert len(names(s3_url)) == 2
    query = "SELECT id, label FROM log ORDER BY id"
    assert open_log(s3_url).query("iris", query).to_pylist() == [
        {"id": "a", "label": "x"},
        {"id": "b", "label": None},
    ]
    assert open_log(s3_url).models() == ["iris"]


@pytest.mark.slow
def test_the_search_for_records_of_new_labels_downloads_no_old_files(log, s3_url, tmp_path):
    log.add(chunk(["a", "b"], ended_at=[NOON - 5 * DAY_S, NOON]))
    log.label("a", "old", at=NOON - 5 * DAY_S + 60)
    log.label("b", "x", at=NOON + 60)
    log.label("unknown", "x", at=NOON + 60)
    log.close()
    uploader(log, s3_url).turn()
    assert len(names(s3_url)) == 4
    batches = newly_labelled(open_log(s3_url), "iris", NOON, NOON + 3600, served().digest)
    assert [row["label"] for batch in batches for row in batch.to_pylist()] == ["x"]
    assert len(list((tmp_path / "home").rglob("*.parquet"))) == 2
    # Who asks for more has all of it downloaded.
    assert open_log(s3_url).query("iris", "SELECT count(*) AS rows FROM log").to_pylist() == [{"rows": 2}]


@pytest.mark.slow
def test_the_writer_of_a_server_has_sent_everything_when_it_ends(s3_url, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    writer = LogWriter(writer_settings(s3_url, spool=str(tmp_path / "spool")))
    writer.check()
    sender, counts = LogSender(writer.inbox), Counts()
    log = PredictionLog(1.0, sender)
    log.start(counts)
    log(chunk(["a", "b"]))
    sender.close(30)
    writer.close(30)
    assert (counts.records, counts.dropped) == (2, {})
    assert open_log(s3_url).query("iris", "SELECT count(*) AS n FROM log").to_pylist() == [{"n": 2}]


@pytest.mark.slow
def test_records_are_removed_in_the_bucket(log, s3_url):
    log.add(chunk(["a", "b"]))
    log.add(chunk(["c"], ended_at=[NOON + 7200]))
    log.close()
    uploader(log, s3_url).turn()
    reader = open_log(s3_url)
    close_segments(reader, "iris")
    assert delete_records(reader, "iris", matching(reader, "iris", "id in ('a', 'c')")) == 2
    assert open_log(s3_url).query("iris", "SELECT id FROM log").to_pylist() == [{"id": "b"}]
    assert len(names(s3_url)) == 1


@pytest.mark.slow
def test_files_wait_while_the_bucket_is_unreachable_and_go_when_it_is_back(
    log, s3_url, s3_server, monkeypatch
):
    with proxy(s3_server.address) as gate:
        gate.gone = True
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{gate.address}")
        log.add(chunk(["a"]))
        log.close()
        sending = uploader(log, s3_url, spool_bytes=10)
        sending.start()
        try:
            wait_until(lambda: sending.refusal() == "bucket", 60)  # More waits than may.
            assert len(list(log.root.rglob("*.parquet"))) == 1
            gate.gone = False
            wait_until(lambda: not list(log.root.rglob("*.parquet")), 60)
        finally:
            sending.stop(10)
        assert len(names(s3_url)) == 1
    assert sending.refusal() == ""


@pytest.mark.slow
def test_an_empty_bucket_has_no_records(log, s3_url):
    with pytest.raises(NotFound, match="expected a log, found none"):
        open_log(s3_url).query("iris", "SELECT 1")


def test_the_oldest_files_of_a_bucket_go_first():
    folder = "model=iris/date=2026-11-{}/hour=12/a.parquet"
    files = [StoredFile(folder.format(day), 10, 0.0) for day in (30, 10, 20)]
    assert list(beyond_limits(files, NOON, 15 * DAY_S, 0)) == [folder.format(10)]
    assert list(beyond_limits(files, NOON, 0, 15)) == [folder.format(10), folder.format(20)]
    assert list(beyond_limits(files, NOON, 0, 0)) == []
