"""Records whose labels came lately: each label once, wherever its record is, and nothing else is read."""

from __future__ import annotations

import numpy as np
import pytest

from lading.errors import ModelNotFound
from lading.monitor.log.labelled import MOST_DELAY_S, newly_labelled
from lading.monitor.log.reader import open_log
from support.predictions import NOON, LogMaker, chunk, served

HOUR_S = 3600.0
DIGEST = served().digest


@pytest.fixture
def log(tmp_path):
    return LogMaker(tmp_path / "log")


def labelled(log: LogMaker, since: float, until: float | None = None, digest: str = DIGEST) -> list[tuple]:
    """Return length and label of the records that were labelled in an hour, or until another one."""
    reader = open_log(str(log.root), modest=True)
    batches = newly_labelled(reader, "iris", since, until or since + HOUR_S, digest)
    rows = [row for batch in batches for row in batch.to_pylist()]
    return sorted((row["inputs"]["length"], row["label"]) for row in rows)


def test_a_record_counts_in_the_hour_in_which_its_label_came(log):
    log.add(chunk(["a", "b", "c"], rows=[1, 2, 1]))
    log.label("a", "x", at=NOON + 60)
    log.label("b", "y", "z", at=NOON + HOUR_S + 60)
    log.flush()
    assert labelled(log, NOON) == [(0.0, "x")]
    assert labelled(log, NOON + HOUR_S) == [(2.0, "y"), (4.0, "z")]
    assert labelled(log, NOON + 2 * HOUR_S) == []


@pytest.mark.slow
@pytest.mark.parametrize("closed", [True, False])
def test_the_hours_counted_one_by_one_have_every_label_once_however_late(log, closed):
    random = np.random.default_rng(0)
    for hour in range(3):
        ids = [f"{hour}-{at}" for at in range(20)]
        log.add(chunk(ids, ended_at=[NOON + HOUR_S * hour + 60 * at for at in range(20)]))
        for number in random.permutation(20):
            came_in = hour + int(random.integers(0, 6))
            log.label(ids[number], "x", at=NOON + HOUR_S * came_in + 3500)
    log.label("0-1", "again", at=NOON + 9 * HOUR_S)  # The first label counts, and this is never one.
    (log.close if closed else log.flush)()
    counted = [row for hour in range(10) for row in labelled(log, NOON + HOUR_S * hour)]
    assert len(counted) == 60
    assert {label for _, label in counted} == {"x"}


def test_labels_of_no_record_are_no_rows(log):
    log.add(chunk(["a"]))
    log.label("another", "x", at=NOON + 60)
    log.flush()
    assert labelled(log, NOON) == []


def test_failed_requests_copies_of_a_shadow_and_other_versions_are_left_out(log):
    log.add(chunk(["a"], side="live", ended_at=[NOON]))
    log.add(chunk(["a"], side="shadow", served=served(version=2), ended_at=[NOON]))
    log.add(chunk(["b"], errors=["too long"], statuses=[500], inputs={}, outputs={}))
    log.add(chunk(["c"], served=served(version=3)))
    for request in "abc":
        log.label(request, request, at=NOON + 60)
    log.close()
    assert [label for _, label in labelled(log, NOON)] == ["a"]
    assert labelled(log, NOON, digest=served(version=2).digest) == []
    assert [label for _, label in labelled(log, NOON, digest=served(version=3).digest)] == ["c"]


def test_a_request_that_was_sent_again_with_its_id_counts_once(log):
    log.add(chunk(["a"], errors=["too long"], statuses=[500], inputs={}, outputs={}))
    log.add(chunk(["a"], ended_at=[NOON + 1]))
    log.add(chunk(["a"], ended_at=[NOON + 2]))
    log.label("a", "x", at=NOON + 60)
    log.flush()
    assert labelled(log, NOON) == [(0.0, "x")]


def test_an_answer_of_too_long_ago_is_not_looked_for(log):
    log.add(chunk(["a", "b"], ended_at=[NOON - MOST_DELAY_S - 2 * HOUR_S, NOON - MOST_DELAY_S + HOUR_S]))
    log.label("a", "x", at=NOON + 60)
    log.label("b", "y", at=NOON + 60)
    log.close()
    assert [label for _, label in labelled(log, NOON)] == ["y"]


def test_hours_without_the_records_that_were_labelled_are_not_read(log):
    for hour in range(8):
        log.add(chunk([f"{hour}"], ended_at=[NOON + HOUR_S * hour]))
    log.label("7", "x", at=NOON + 7 * HOUR_S + 60)
    log.close()
    # What is not read may be damaged; the newest hour has the only record that is asked for.
    for path in sorted(log.root.glob("model=*/**/*.parquet"))[:-1]:
        path.write_bytes(b"damaged")
    assert [label for _, label in labelled(log, NOON + 7 * HOUR_S)] == ["x"]


def test_a_model_that_the_log_does_not_have_is_named(log):
    log.add(chunk(["a"]))
    log.flush()
    with pytest.raises(ModelNotFound, match="wine"):
        list(newly_labelled(open_log(str(log.root)), "wine", NOON, NOON, DIGEST))
