"""A registry with jobs, for the commands that show and cancel them."""

from __future__ import annotations

import pytest

from lading.jobs import Answer, AnsweredBy, Outcome, Submission
from lading.registry import Registry


@pytest.fixture
def registry(tmp_path, monkeypatch):
    monkeypatch.setenv("LADING_REGISTRY", str(tmp_path / "registry"))
    with Registry.open() as registry:
        yield registry


@pytest.fixture
def two_jobs(registry) -> Registry:
    """A registry with a job that is done, and one that waits."""
    for number in (1, 2):
        submission = Submission(
            id=f"job-{number}",
            name="iris",
            target="iris",
            path="/models/iris/predict",
            headers={},
            body=b"{}",
            fingerprint="f",
            webhook="https://hooks.example.com/secret" if number == 1 else "",
        )
        registry.jobs.submit(submission, most_waiting=9)
    registry.jobs.claim(["iris"], 1, token="t", replica="web-1", ttl_s=30)
    served = AnsweredBy(model="iris", version=3, digest="sha256:3", side="live")
    answer = Answer(status=200, content_type="application/json", body=b'{"prediction":[1]}', served=served)
    registry.jobs.finish([Outcome(id="job-1", token="t", state="done", answer=answer)])
    return registry
