"""What of answered requests goes into the prediction log, and what never leaves the serving process."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from lading.log_frames import MOST_FRAME_BYTES, Answers, FrameReader, Labels, times_of, values_of
from lading.server.observe.prediction_log import PredictionLog, Privacy, names_in
from lading.signature import Signature, Tensor
from support.predictions import Outgoing, chunk, served

IDS = [f"request {number}" for number in range(2000)]


def logged(answered, share: float = 1.0, privacy: Privacy | None = None):
    """Return the frames of a chunk, each with its parts by field."""
    outgoing = Outgoing()
    PredictionLog(share, outgoing, replica="replica-1", privacy=privacy)(answered)
    frames = []
    for queued in outgoing.frames:
        ((frame, body),) = FrameReader().feed(queued.data)
        assert queued.records == frame.records
        frames.append((frame, {part.columns or part.name: values for part, values in values_of(frame, body)}))
    return frames


def test_a_chunk_is_one_frame_with_all_that_is_known_of_its_requests():
    answered = chunk(["a", "b"], rows=[1, 2], release=4, side="candidate", warnings=[(), ("too large",)])
    ((frame, arrays),) = logged(answered)
    assert isinstance(frame, Answers)
    assert (frame.model, frame.version, frame.release, frame.side) == ("iris", 1, 4, "candidate")
    assert (frame.ids, frame.rows, frame.replica) == ([b"a", b"b"], [1, 2], "replica-1")
    assert frame.warnings == [[], ["too large"]]
    assert (list(times_of(frame.latencies_s)), list(times_of(frame.ended_at))) == (
        answered.latencies_s,
        answered.ended_at,
    )
    assert arrays["length", "width"].tolist() == answered.inputs["X"].tolist()


def test_what_failed_is_logged_without_outputs_and_with_its_error():
    ((frame, arrays),) = logged(chunk(["a"], outputs={}, errors=["RunFailed"], statuses=[500]))
    assert (frame.statuses, frame.errors) == ([500], ["RunFailed"])
    assert list(arrays) == [("length", "width")]


def test_a_share_of_requests_is_logged_with_their_rows_and_every_replica_chooses_the_same():
    rows = [1 + number % 3 for number in range(len(IDS))]
    answered = chunk(IDS, rows=rows)
    ((first, arrays),), ((second, _),) = logged(answered, 0.25), logged(answered, 0.25)
    assert first.ids == second.ids
    assert len(first.ids) == pytest.approx(500, abs=80)
    starts = np.cumsum(rows) - rows
    chosen = [IDS.index(request.decode()) for request in first.ids]
    expected = [answered.inputs["X"][starts[at] : starts[at] + rows[at]] for at in chosen]
    assert arrays["length", "width"].tolist() == np.concatenate(expected).tolist()


def test_a_share_of_nothing_chosen_sends_nothing():
    assert logged(chunk(["a", "b"]), 1e-9) == []


def test_labels_are_logged_for_the_requests_that_are():
    outgoing = Outgoing()
    log = PredictionLog(0.5, outgoing, clock=lambda: 12.5)
    taken = [log.add_labels("iris", text.encode(), ("x", "y")) for text in IDS[:100]]
    chosen = logged(chunk(IDS[:100]), 0.5)[0][0].ids
    assert [text.encode() for text, was in zip(IDS, taken, strict=False) if was] == chosen
    ((frame, _),) = FrameReader().feed(outgoing.frames[0].data)
    assert frame == Labels("iris", [chosen[0]], [("x", "y")], [12.5])


def test_an_excluded_column_is_in_no_byte_of_a_frame():
    answered = chunk(["a"], inputs={"X": np.array([[1.5, 123.25]], np.float32)})
    outgoing = Outgoing()
    PredictionLog(1.0, outgoing, privacy=Privacy(excluded=frozenset({"width", "label"})))(answered)
    (frame,) = outgoing.frames
    assert np.float32(123.25).tobytes() not in frame.data
    assert b"class 0" not in frame.data
    assert np.float32(1.5).tobytes() in frame.data


def test_a_hashed_column_is_equal_for_equal_values_and_needs_the_key():
    values = np.array([["Seoul"], ["Oslo"], ["Seoul"]], dtype=object)
    signature = Signature((Tensor(name="city", dtype="string", shape=("batch", 1)),), ())
    answered = chunk(["a", "b", "c"], served=served(signature), inputs={"city": values}, outputs={})
    privacy = Privacy(hashed=frozenset({"city"}), key=b"k" * 16)
    ((_, arrays),) = logged(answered, privacy=privacy)
    texts = bytes(arrays[("city",)].data).decode()
    hashes = [texts[at : at + 32] for at in range(0, 96, 32)]
    assert hashes[0] == hashes[2] != hashes[1]
    assert "Seoul" not in texts
    other = Privacy(hashed=privacy.hashed, key=b"l" * 16)
    assert bytes(logged(answered, privacy=other)[0][1][("city",)].data).decode()[:32] != hashes[0]


def test_one_column_of_a_tensor_may_be_hashed_beside_others():
    privacy = Privacy(frozenset({"length"}), frozenset({"width"}), b"k" * 16)
    ((_, arrays),) = logged(chunk(["a"]), privacy=privacy)
    assert [key for key in arrays if isinstance(key, tuple)] == [("width",)]
    assert len(arrays[("width",)].data) == 32


def test_a_name_that_no_model_has_is_warned_of_once(caplog):
    log = PredictionLog(1.0, Outgoing(), privacy=Privacy(excluded=frozenset({"widht", "length"})))
    with caplog.at_level(logging.WARNING, "lading.server"):
        log(chunk(["a"]))
        log(chunk(["b"]))
    (record,) = caplog.records
    assert "`widht`" in record.getMessage()
    assert "length" not in record.getMessage()


def test_a_model_without_a_batch_is_one_record_with_its_arrays_whole():
    signature = Signature(
        (Tensor(name="x", dtype="float32", shape=(3,)),), (Tensor(name="y", dtype="float32", shape=(2, 2)),)
    )
    arrays = {"x": np.arange(3, dtype=np.float32)}, {"y": np.eye(2, dtype=np.float32)}
    answered = chunk(["a"], rows=[1], served=served(signature), inputs=arrays[0], outputs=arrays[1])
    ((frame, values),) = logged(answered)
    assert frame.records == 1
    assert values["x"].shape == (1, 3)
    assert values["y"].shape == (1, 2, 2)


def test_a_chunk_too_large_for_a_frame_becomes_several():
    signature = Signature((Tensor(name="image", dtype="uint8", shape=("batch", 2**20)),), ())
    images = np.zeros((20, 2**20), np.uint8)
    answered = chunk(IDS[:20], served=served(signature), inputs={"image": images}, outputs={})
    outgoing = Outgoing()
    PredictionLog(1.0, outgoing)(answered)
    assert sum(frame.records for frame in outgoing.frames) == 20
    assert max(len(frame.data) for frame in outgoing.frames) <= MOST_FRAME_BYTES


def test_names_are_separated_by_commas():
    assert names_in(" age, petal width (cm) ,,") == {"age", "petal width (cm)"}
