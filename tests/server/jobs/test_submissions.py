"""From a request to a job: what is kept, what is refused."""

from __future__ import annotations

import pytest

from lading.errors import BodyTooLarge, UsageError
from lading.server.http.messages import Request
from lading.server.jobs.hook_rules import HookRules
from lading.server.jobs.submissions import submission_of
from lading.server.process.compose import make_plane
from lading.settings import ServeSettings

PATTERN = "/models/{name}/predict"


def submitted(body: bytes = b"{}", settings: ServeSettings | None = None, name: str = "iris", **headers: str):
    settings = settings or ServeSettings()
    named = {key.replace("_", "-").encode(): value.encode() for key, value in headers.items()}
    request = Request("POST", "/ml/models/iris/jobs", body, named, params={"name": name})
    return submission_of(request, PATTERN, make_plane(settings), settings, HookRules(settings))


def test_only_headers_that_the_answer_depends_on_are_kept():
    job = submitted(
        content_type="application/json",
        accept="text/csv",
        authorization="Bearer secret",
        cookie="a=b",
        traceparent="00-1",
        x_lading_key="ann",
    )
    kept = {"content-type", "accept", "traceparent", "x-lading-key"}
    assert job.headers.keys() == kept
    assert (job.path, job.target, job.priority) == ("/models/iris/predict", "iris", 0)


def test_a_path_is_made_of_the_parameters_and_not_of_what_a_proxy_puts_before():
    assert submitted(name="a b/c").path == "/models/a%20b%2Fc/predict"


def test_the_same_request_has_the_same_fingerprint_and_another_id():
    first, again = submitted(traceparent="00-1"), submitted(traceparent="00-2")
    assert first.fingerprint == again.fingerprint
    assert first.id != again.id
    assert len(first.id) == 32
    others = [
        submitted(b"{} "),
        submitted(name="wine"),
        submitted(accept="text/csv"),
        submitted(x_lading_job_priority="1"),
    ]
    assert len({job.fingerprint for job in (first, *others)}) == 5


@pytest.mark.parametrize("priority", ["x", "1.5", "", "1001", "-1001", "9" * 30, "１"])
def test_a_priority_that_is_none_is_refused(priority):
    with pytest.raises(UsageError, match="expected a whole number from -1000 to 1000"):
        submitted(x_lading_job_priority=priority)
    assert submitted(x_lading_job_priority="-7").priority == -7


@pytest.mark.parametrize("key", ["a" * 256, "caf\xe9", "a\x01b"])
def test_a_key_that_is_none_is_refused(key):
    with pytest.raises(UsageError, match="`idempotency-key`: expected at most 255 printable"):
        submitted(idempotency_key=key)
    assert submitted(idempotency_key="a b").key == "a b"


def test_a_body_that_is_too_large_is_refused_with_the_ways_out():
    with pytest.raises(BodyTooLarge, match="body of a job: expected at most 2 bytes, found 3") as caught:
        submitted(b"{ }", ServeSettings(max_job_bytes=2))
    assert "lading batch" in str(caught.value.hint)
