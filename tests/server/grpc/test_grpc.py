"""Each error has a gRPC status, and its text."""

from __future__ import annotations

import grpc
import pytest

from lading import errors
from lading.errors import QueueFull, RunFailed
from lading.server.grpc import STATUS, details_of, status_of


def test_every_error_has_a_status():
    assert {kind.__name__ for kind in errors.leaves() if status_of(kind("x")) is grpc.StatusCode.OK} == set()
    assert all(isinstance(status, grpc.StatusCode) for status in STATUS.values())


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RunFailed("x"), grpc.StatusCode.INTERNAL),
        (errors.BodyInvalid("x"), grpc.StatusCode.INVALID_ARGUMENT),
        (errors.ModelNotFound("x"), grpc.StatusCode.NOT_FOUND),
        (errors.ModelNotReady("x"), grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_an_error_has_the_status_of_its_class_or_of_the_nearest_above_it(error, status):
    assert status_of(error) is status


def test_the_text_of_an_error_has_its_hint_on_a_line_of_its_own():
    error = QueueFull("queue", expected="fewer", found="1", hint="retry later")
    assert details_of(error).splitlines() == ["queue: expected fewer, found 1", "hint: retry later"]
