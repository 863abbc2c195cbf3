"""What is remembered of answers for feedback: how much of it, and that it is counted once."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from lading.release import Plan, begin
from lading.server.inference.job import Job
from lading.server.inference.traffic import Traffic
from lading.server.observe import observer as remembering
from lading.server.observe.observer import Observer
from support.bundles import linear_bundle
from support.hosted_app import served_from


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return served_from(linear_bundle(tmp_path_factory.mktemp("witness") / "iris"))


@pytest.fixture
def witness():
    one = Observer("replica-1")
    yield one
    one.stop()


def saw(witness: Observer, served, primary, request_id: bytes) -> None:
    """Have the witness see an answer of one row or more."""
    release = begin(None, "iris", 1, Plan(mode="live"), actor="t", at="", runtime=None)
    job = Job(served, {}, None, lambda outputs: outputs, len(primary))
    job.result = {"probabilities": primary}
    witness.saw(Traffic.of(release), job, request_id, 0.001, "")


def right(witness: Observer) -> int:
    witness.windows.cut(witness.windows._began + 1.0, last=True)
    return sum(one.feedback.right for one in witness.windows.take())


def test_a_small_answer_does_not_keep_the_merged_output_that_it_is_a_slice_of(witness, classifier):
    merged = np.array(np.eye(3, dtype=np.float32)[np.arange(3000) % 3])
    gone = weakref.ref(merged)
    saw(witness, classifier, merged[1:2], b"r-1")
    witness.windows.cut(witness.windows._began + 1.0, last=True)  # The second that is counted holds it too.
    del merged
    gc.collect()
    assert gone() is None
    assert witness.learn("iris", b"r-1", ("versicolor",))
    assert right(witness) == 1


def test_large_answers_are_forgotten_by_the_oldest(witness, classifier, monkeypatch):
    monkeypatch.setattr(remembering, "_REMEMBERED_BYTES", 300_000)
    rows = np.array(np.eye(3, dtype=np.float32)[np.arange(8000) % 3])  # 96,000 bytes
    for at in range(10):
        saw(witness, classifier, rows.copy(), b"r-%d" % at)
    known = [at for at in range(10) if witness.learn("iris", b"r-%d" % at, ("setosa",))]
    assert known == [7, 8, 9]
    saw(witness, classifier, rows.copy(), b"r-10")
    assert witness.learn("iris", b"r-10", ("setosa",)), "what was claimed counts no more"


def test_a_large_slice_counts_as_the_whole_that_it_keeps(witness, classifier, monkeypatch):
    monkeypatch.setattr(remembering, "_REMEMBERED_BYTES", 300_000)
    for at in range(3):
        merged = np.array(np.eye(3, dtype=np.float32)[np.arange(16000) % 3])  # 192,000 bytes
        saw(witness, classifier, merged[:1000], b"r-%d" % at)
    assert [at for at in range(3) if witness.learn("iris", b"r-%d" % at, ("setosa",))] == [2]


def test_texts_count_by_their_length(witness, classifier, monkeypatch):
    monkeypatch.setattr(remembering, "_REMEMBERED_BYTES", 300_000)
    for at in range(3):
        saw(witness, classifier, np.array([["x" * 200_000]], dtype=object), b"r-%d" % at)
    assert len(witness._answered) == 1


def test_an_id_that_a_client_gives_twice_counts_once(witness, classifier, monkeypatch):
    monkeypatch.setattr(remembering, "_REMEMBERED_BYTES", 300_000)
    rows = np.array(np.eye(3, dtype=np.float32)[np.arange(8000) % 3])
    saw(witness, classifier, rows.copy(), b"other")
    for _ in range(10):
        saw(witness, classifier, rows.copy(), b"same")
    assert witness.learn("iris", b"other", ("setosa",))
    assert witness.learn("iris", b"same", ("setosa",))
    assert not witness.learn("iris", b"same", ("setosa",))
    assert witness._answered_bytes == 0
