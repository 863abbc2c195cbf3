"""Frames as Arrow: rows of requests, hours, and what all records of a frame have in common."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lading.log_frames import FrameReader, Labels
from lading.monitor.log.records import answer_batches, label_batches
from lading.server.observe.prediction_log import PredictionLog
from support.predictions import NOON, Outgoing, chunk


def batches(answered):
    outgoing = Outgoing()
    PredictionLog(1.0, outgoing, replica="replica-1")(answered)
    ((frame, body),) = FrameReader().feed(outgoing.frames[0].data)
    return list(answer_batches(frame, body))


def test_each_row_of_a_request_is_a_record():
    ((contents, batch),) = batches(chunk(["a", "b"], rows=[2, 1], errors=["", "RunFailed"], release=7))
    assert (contents.model, contents.version, contents.release, contents.hour) == ("iris", 1, 7, NOON)
    rows = batch.to_pylist()
    assert [(row["id"], row["row"], row["error"]) for row in rows] == [
        ("a", 0, None),
        ("a", 1, None),
        ("b", 0, "RunFailed"),
    ]
    assert [row["inputs"]["length"] for row in rows] == [0, 2, 4]
    assert rows[0]["warnings"] is None


def test_records_are_divided_where_an_hour_ends():
    parts = batches(chunk(["a", "b", "c"], ended_at=[NOON - 1, NOON, NOON - 2]))
    assert [(contents.hour - NOON, batch["id"].to_pylist()) for contents, batch in parts] == [
        (-3600, ["a", "c"]),
        (0, ["b"]),
    ]


def test_ids_may_have_any_bytes():
    ((_, batch),) = batches(replace(chunk(["a"]), ids=[b"\xff\x00"]))
    assert batch["id"].to_pylist() == ["\xff\x00"]


def test_labels_are_a_record_for_each_row():
    ((contents, batch),) = label_batches(Labels("iris", [b"a", b"b"], [("x", "y"), ("z",)], [NOON, NOON + 1]))
    assert (contents.kind, contents.hour) == ("labels", NOON)
    assert [tuple(row.values())[:3] for row in batch.to_pylist()] == [
        ("a", 0, "x"),
        ("a", 1, "y"),
        ("b", 0, "z"),
    ]


def test_a_body_that_is_too_short_is_refused():
    outgoing = Outgoing()
    PredictionLog(1.0, outgoing)(chunk(["a"]))
    ((frame, body),) = FrameReader().feed(outgoing.frames[0].data)
    with pytest.raises(ValueError, match=r"buffer|reshape"):
        list(answer_batches(frame, body[:-20]))
