"""What every protocol shares: statuses, headers of errors, and the words of decoders."""

from __future__ import annotations

import json

import msgspec
import pytest

from lading import errors
from lading.server.protocols import DECODE_ERRORS, decode_error_text, error_response, status_of


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (errors.QueueFull("queue", retry_after_s=7), ((b"retry-after", b"7"),)),
        (errors.ModelNotReady("loading"), ((b"retry-after", b"1"),)),
        (errors.MethodRefused("`/predict`", allowed=("GET", "POST")), ((b"allow", b"GET, POST"),)),
        (errors.ValueRefused("input"), ()),
    ],
)
def test_an_error_is_answered_with_its_status_and_headers(error, headers):
    response = error_response(error, {"error": error.message})
    assert response.status == status_of(error)
    assert response.headers == headers
    assert json.loads(response.body) == {"error": error.message}


def test_a_protocol_may_have_a_status_of_its_own():
    error = errors.RouteNotFound("`/nowhere`")
    assert error_response(error, {}).status == 404
    assert error_response(error, {}, 400).status == 400


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"{,", "JSON is malformed: object keys must be strings (byte 1)"),
        (b"{", "input data was truncated"),
        (b'"\xff"', "text that is not UTF-8 (byte 0xff)"),
        (b"[" * 100_000, "maximum recursion depth exceeded"),
    ],
)
def test_what_a_decoder_raises_becomes_the_middle_of_a_sentence(content, text):
    with pytest.raises(DECODE_ERRORS) as caught:
        msgspec.json.decode(content)
    assert decode_error_text(caught.value).startswith(text.partition(":")[0])
