"""How answers of other servers are parsed."""

from __future__ import annotations

import httpx
import msgspec
import pytest

from lading.errors import RemoteError
from lading.inventory import adopt
from lading.inventory.external import make_model, parse
from support.canned_server import answering


class Named(msgspec.Struct):
    name: str


@pytest.mark.parametrize(
    "answer", [b"", b"[", b"[]", b'{"name": 3}', b'{"name": "x", "version": []}', b"\xff"]
)
def test_an_answer_of_another_form_counts_as_no_answer(answer):
    answers = {"GET /v2": answer, "GET /v1/models/m": answer, "GET /version": answer}
    with answering(answers) as server, pytest.raises(RemoteError):
        adopt(server, ["m"])


def test_only_answers_with_status_200_count():
    assert parse(httpx.Response(200, content=b'{"name": "x"}'), Named) == Named("x")
    assert parse(httpx.Response(404, content=b'{"name": "x"}'), Named) is None


@pytest.mark.parametrize(
    ("text", "number"), [("3", 3), ("v3", 0), ("", 0), ("9" * 18, int("9" * 18)), ("9" * 19, 0), ("³", 0)]
)
def test_a_version_that_is_no_small_number_is_kept_as_text(text, number):
    model = make_model("net", text)
    assert (model.version, model.version_text) == (number, "" if number else text)
