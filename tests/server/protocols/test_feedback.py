"""Feedback over HTTP: bodies that it accepts and refuses; `tests/server/observe` has the counting."""

from __future__ import annotations

import pytest

from support.bundles import linear_bundle
from support.hosted_app import hosted, served_from

ROUTE = "/models/iris/feedback"


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    return hosted(served_from(linear_bundle(tmp_path_factory.mktemp("feedback") / "iris"), 3))


def test_feedback_needs_a_release_or_a_log(iris):
    answer = iris.post(ROUTE, {"request_id": "a", "label": "setosa"})
    assert answer.status_code == 501
    assert answer.json()["error"] == "feedback for `iris`: expected a release or a log, found neither"
    assert "lading release iris:N" in answer.json()["hint"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "truncated"),
        (b'{"request_id": "a"}', "missing required field `label`"),
        (b'{"label": 1}', "missing required field `request_id`"),
        (b'{"request_id": 1, "label": 1}', "expected `str`"),
        (b'{"request_id": "a", "label": 1, "more": 2}', "unknown field `more`"),
        (b'{"request_id": "a", "label": true}', "`$.label`"),
        (b'{"request_id": "a", "label": [null]}', "`$.label`"),
        (b'{"request_id": "\xff", "label": 1}', "not UTF-8"),
        (b'{"request_id": "%b", "label": 1}' % (b"a" * 129), "at most 128 bytes"),
        (
            b'{"request_id": "a", "label": "%b"}' % (b"a" * 257),
            "at most 256 characters in a label, found 257",
        ),
        (b'{"request_id": "a", "label": [1, "%b"]}' % (b"a" * 257), "at most 256 characters in a label"),
    ],
)
def test_a_wrong_body_is_refused(iris, body, text):
    answer = iris.post(ROUTE, content=body)
    assert answer.status_code == 400
    assert text in answer.json()["error"]


def test_feedback_of_an_unknown_model_is_404(iris):
    assert iris.post("/models/rose/feedback", content=b"{").status_code == 404


def test_a_body_larger_than_feedback_ever_is_is_refused_unread(iris):
    answer = iris.post(ROUTE, content=b'{"request_id": "a", "label": [' + b'"a",' * 300_000)
    assert answer.status_code == 413
    assert answer.json()["error"].startswith("feedback: expected at most 1048576 bytes, found 12000")
