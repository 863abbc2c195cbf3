"""The jobs of a registry on the command line."""

from __future__ import annotations

import json

import pytest

from lading.jobs import Answer, Outcome, Served, Submission
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
    served = Served(model="iris", version=3, digest="sha256:3", side="live")
    answer = Answer(status=200, content_type="application/json", body=b'{"prediction":[1]}', served=served)
    registry.jobs.finish([Outcome(id="job-1", token="t", state="done", answer=answer)])
    return registry


def test_jobs_are_listed_with_what_waits(lading, two_jobs):
    code, stdout, stderr = lading("jobs", "list", "iris")
    assert code == 0
    assert "job-1" in stdout
    assert "iris:3" in stdout
    assert "iris: 1 waiting, the oldest for 0 s, 0 running" in stderr
    listed = json.loads(lading("jobs", "list", "--state", "done", "--json")[1])
    assert [job["id"] for job in listed["jobs"]] == ["job-1"]
    assert listed["open"][0]["waiting"] == 1
    assert json.loads(lading("jobs", "list", "--before", "2", "--json")[1])["jobs"][0]["id"] == "job-1"
    assert "no such jobs" in lading("jobs", "list", "wine")[2]


def test_no_jobs_say_how_there_are_some(lading, registry):
    assert "`lading serve --jobs` takes some" in lading("jobs", "list")[2]


def test_a_job_is_shown_with_who_answered_and_without_the_secret_part_of_its_webhook(lading, two_jobs):
    _, stdout, _ = lading("jobs", "show", "job-1")
    for part in (
        "done",
        "iris:3 (live) sha256:3",
        "status 200",
        "web-1",
        "hooks.example.com, due, 0 attempts",
    ):
        assert part in stdout
    assert "secret" not in stdout
    job = json.loads(lading("jobs", "show", "job-1", "--json")[1])
    assert (job["state"], job["version"], job["webhook"]) == ("done", 3, "hooks.example.com")
    assert lading("jobs", "show", "job-3")[0] == 3


def test_the_answer_is_printed_byte_for_byte(lading, two_jobs, capfdbinary):
    assert two_jobs.jobs.answer("job-1").body == b'{"prediction":[1]}'
    assert lading("jobs", "show", "job-2", "--result")[0] == 2
    assert lading("jobs", "show", "job-1", "--result", "--json")[0] == 2


def test_a_job_is_cancelled_once(lading, two_jobs):
    assert lading("jobs", "cancel", "job-2")[:2] == (0, "job-2\n")
    assert json.loads(lading("jobs", "cancel", "job-2", "--json")[1])["state"] == "cancelled"
    code, _, stderr = lading("jobs", "cancel", "job-1")
    assert code == 1
    assert "found one that is done" in stderr
