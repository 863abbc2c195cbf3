"""The content type of a JSON body, over fast routes and under plain ASGI alike."""

from __future__ import annotations

import pytest

from lading.server.http.content_type import is_json
from support.http_requests import BODY, is_correct, request


def test_a_body_of_another_type_is_refused_each_time_and_the_connection_kept(host, expected):
    with host.wire() as wire:
        for _ in range(2):
            wire.send(request(content_type="text/csv"))
            answer = wire.answer()
            assert answer.status == 415
            assert "found `text/csv`" in answer.json()["error"]
            wire.send(request(BODY, content_type="application/json"))
            assert is_correct(wire.answer(), expected)


@pytest.mark.parametrize(
    ("header", "readable"),
    [
        (b"application/json", True),
        (b'Application/JSON ; Charset="utf-8"', True),
        (b"application/json; profile=a; charset=us-ascii", True),
        (b"application/problem+json", True),
        (b"application/x-www-form-urlencoded", True),
        (b"", True),
        (b"application/json; charset=iso-8859-1", False),
        (b"application/x-npy", False),
        (b"json", False),
        (b"application/jsonlines", False),
    ],
)
def test_only_json_in_utf_8_is_read_as_json(header, readable):
    assert is_json(header) is readable
