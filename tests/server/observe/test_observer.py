"""Answers kept for feedback: how many, how large, and each counted once."""

from __future__ import annotations

import gc
import time
import weakref

import numpy as np
import pytest

from lading.errors import BodyInvalid, BodyTooLarge, QueueFull
from lading.release import Plan, begin
from lading.server.inference.job import Job
from lading.server.inference.traffic import Traffic
from lading.server.observe.observer import Observer
from lading.traffic import FeedbackCounts
from support.bundles import linear_bundle
from support.hosted_app import served_from


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return served_from(linear_bundle(tmp_path_factory.mktemp("observer") / "iris"))


@pytest.fixture
def observer():
    observer = Observer("replica-1", max_remembered_bytes=300_000)
    yield observer
    observer.close()


def record(observer: Observer, served, primary, request_id: bytes) -> None:
    """Record an answer of one row or more."""
    release = begin(None, "iris", 1, Plan(mode="live"), actor="t", at="", runtime=None)
    job = Job(served, {}, None, lambda outputs: outputs, len(primary))
    job.outcome = {"probabilities": primary}
    observer.record(Traffic.of(release), job, request_id, 0.001, "")


def right(observer: Observer) -> int:
    observer.windows.rotate(time.time(), last=True)
    return sum(window.feedback.right for window in observer.windows.drain())


@pytest.mark.slow
def test_a_small_slice_does_not_keep_the_merged_output_in_memory(observer, classifier):
    merged = np.array(np.eye(3, dtype=np.float32)[np.arange(3000) % 3])
    gone = weakref.ref(merged)
    record(observer, classifier, merged[1:2], b"r-1")
    observer.windows.rotate(time.time(), last=True)  # The running second holds the slice too.
    del merged
    gc.collect()
    assert gone() is None
    assert observer.add_feedback("iris", b"r-1", ("versicolor",)) == "here"
    assert right(observer) == 1


def test_beyond_the_size_limit_the_oldest_answers_are_forgotten(observer, classifier):
    rows = np.array(np.eye(3, dtype=np.float32)[np.arange(8000) % 3])  # 96,000 bytes
    for at in range(10):
        record(observer, classifier, rows.copy(), b"r-%d" % at)
    known = [at for at in range(10) if observer.match_feedback("iris", b"r-%d" % at, ("setosa",))]
    assert known == [7, 8, 9]
    record(observer, classifier, rows.copy(), b"r-10")
    assert observer.match_feedback("iris", b"r-10", ("setosa",)), "feedback frees its answer"


def test_a_large_slice_counts_with_the_size_of_the_merged_output(observer, classifier):
    for at in range(3):
        merged = np.array(np.eye(3, dtype=np.float32)[np.arange(16000) % 3])  # 192,000 bytes
        record(observer, classifier, merged[:1000], b"r-%d" % at)
    assert [at for at in range(3) if observer.match_feedback("iris", b"r-%d" % at, ("setosa",))] == [2]


def test_strings_count_with_their_length(observer, classifier):
    for at in range(3):
        record(observer, classifier, np.array([["x" * 200_000]], dtype=object), b"r-%d" % at)
    assert observer.remembered[0] == 1


@pytest.mark.parametrize("output", ["label", "probabilities"])
def test_whatever_output_was_asked_for_is_counted_and_found_by_feedback(observer, classifier, output):
    golden = classifier.samples.outputs
    release = begin(None, "iris", 1, Plan(mode="live"), actor="t", at="", runtime=None)
    job = Job(classifier, {}, (output,), lambda outputs: outputs, len(golden[output]))
    job.outcome = {output: golden[output]}
    observer.record(Traffic.of(release), job, b"r-1", 0.001, "")
    names = [("setosa", "versicolor", "virginica")[at] for at in golden["label"].tolist()]
    assert observer.add_feedback("iris", b"r-1", (*names[:-1], "rose")) == "here"
    observer.windows.rotate(time.time(), last=True)
    (window,) = observer.windows.drain()
    assert window.outputs == {name: names.count(name) for name in set(names)}
    assert window.feedback == FeedbackCounts(right=len(names) - 1, wrong=1)


def test_an_answer_whose_request_id_is_used_twice_counts_once(observer, classifier):
    rows = np.array(np.eye(3, dtype=np.float32)[np.arange(8000) % 3])
    record(observer, classifier, rows.copy(), b"other")
    for _ in range(10):
        record(observer, classifier, rows.copy(), b"same")
    assert observer.add_feedback("iris", b"other", ("setosa",)) == "here"
    assert observer.add_feedback("iris", b"same", ("setosa",)) == "here"
    assert observer.add_feedback("iris", b"same", ("setosa",)) == "before"
    assert observer.remembered == (0, 0)
    record(observer, classifier, rows.copy(), b"same")
    assert observer.add_feedback("iris", b"same", ("setosa",)) == "before", "even if the id is used again"
    assert right(observer) == 2
    assert observer.unmatched.take() == [], "it is not passed on either"


def test_more_labels_than_an_answer_has_rows_are_refused_and_it_waits_for_others(observer, classifier):
    record(observer, classifier, np.eye(3, dtype=np.float32)[:2], b"r-1")
    with pytest.raises(BodyInvalid, match="at most 2, as many as the answer has rows, found 3"):
        observer.add_feedback("iris", b"r-1", ("setosa",) * 3)
    assert not observer.match_feedback("iris", b"r-1", ("setosa",) * 3), "nor those that were passed on"
    assert observer.add_feedback("iris", b"r-1", ("setosa",)) == "here"
    assert right(observer) == 1


def test_feedback_counts_with_the_group_of_the_caller_who_asked(observer, classifier):
    release = begin(None, "iris", 1, Plan(mode="live"), actor="t", at="", runtime=None)
    job = Job(classifier, {}, None, lambda outputs: outputs)
    job.outcome, job.group = {"probabilities": np.eye(3, dtype=np.float32)[:1]}, 5
    observer.record(Traffic.of(release), job, b"r-1", 0.001, "")
    observer.add_feedback("iris", b"r-1", ("setosa",))
    observer.windows.rotate(time.time(), last=True)
    (window,) = observer.windows.drain()
    assert [(part.group, part.feedback.right) for part in window.parts] == [(5, 1)]


def test_feedback_for_others_waits_up_to_a_number_of_bytes(observer):
    label = ("x" * 250,)
    for at in range(5000):
        assert observer.add_feedback("iris", b"r-%d" % at, label) == "passed on"

    def fill() -> None:
        for at in range(4000):
            observer.add_feedback("iris", b"s-%d" % at, label)

    with pytest.raises(QueueFull, match="expected less that waits for them, found no room"):
        fill()
    assert 5000 < len(observer.unmatched.take()) < 9000
    assert observer.add_feedback("iris", b"r", label) == "passed on"


def test_feedback_for_others_is_refused_while_the_catalog_has_no_room(observer):
    observer.unmatched.has_room = False
    with pytest.raises(QueueFull):
        observer.add_feedback("iris", b"r", ("setosa",))


def test_large_feedback_for_others_is_refused(observer):
    with pytest.raises(BodyTooLarge, match="another process: expected at most 65536 bytes"):
        observer.add_feedback("iris", b"r", ("setosa",) * 10_000)
