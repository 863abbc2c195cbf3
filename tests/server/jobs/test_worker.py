"""The worker of jobs: what it runs, gives back, tries again, and reports."""

from __future__ import annotations

import pytest

from lading.errors import DeadlineExceeded, RegistryUnavailable
from lading.jobs import Submission
from lading.server.inference.version import State
from support.hosted_app import gated
from support.hosted_jobs import hosted_jobs
from support.waiting import wait_until

BODY = {"data": [[1.0, 2.0, 3.0, 4.0]]}


def submit(jobs, **headers: str) -> str:
    answer = jobs.post("/models/iris/jobs", BODY, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.headers["location"]


def test_a_job_has_the_id_of_its_request_and_says_who_answered(tmp_path, iris):
    with hosted_jobs(tmp_path / "r", iris) as jobs:
        job = jobs.ended(submit(jobs))
        assert (job["state"], job["status"], job["version"], job["digest"]) == ("done", 200, 1, iris.digest)
        answer = jobs.service.registry.jobs.answer(job["id"])
        assert dict(answer.headers)["x-request-id"] == job["id"]
        assert (answer.served.model, answer.served.side) == ("iris", "")
        wait_until(lambda: jobs.app.metrics.summary().jobs.ended == {("iris", "done"): 1})


@pytest.mark.slow
def test_a_job_waits_until_its_model_is_ready_here(tmp_path, iris):
    with hosted_jobs(tmp_path / "r") as jobs:
        record = jobs.service.submit(
            Submission(
                id="1",
                name="iris",
                target="iris",
                path="/models/iris/predict",
                headers={"content-type": "application/json"},
                body=b'{"data": [[1, 2, 3, 4]]}',
                fingerprint="f",
            )
        )
        wait_until(lambda: jobs.app.metrics.summary().jobs.depths)
        assert jobs.get(f"/jobs/{record.id}").json()["state"] == "waiting"
        jobs.app.plane.publish([iris])
        assert jobs.ended("/jobs/1")["state"] == "done"


@pytest.mark.slow
def test_what_is_under_way_when_the_server_ends_is_given_back(tmp_path, iris):
    runtime = gated(iris, 60)
    with hosted_jobs(tmp_path / "r", iris) as jobs:
        registry, job_id = jobs.service.registry, submit(jobs).rpartition("/")[2]
        wait_until(runtime.entered.is_set)
        assert registry.jobs.get(job_id).state == "running"
        runtime_open = runtime.release_entered
    runtime_open()
    with hosted_jobs(tmp_path / "r") as jobs:
        record = jobs.service.registry.jobs.get(job_id)
        assert (record.state, record.attempts, record.reason) == ("waiting", 0, "its server drained")


def test_no_more_jobs_run_at_once_than_the_setting_says(tmp_path, iris):
    runtime = gated(iris, 60)
    with hosted_jobs(tmp_path / "r", iris, job_concurrency=2, max_batch_rows=1) as jobs:
        locations = [submit(jobs) for _ in range(5)]
        wait_until(runtime.entered.is_set)
        states = [jobs.get(location).json()["state"] for location in locations]
        assert states.count("running") <= 2
        runtime.gate.set()  # And it stays open.
        assert {jobs.ended(location)["state"] for location in locations} == {"done"}


def test_a_job_that_is_cancelled_while_it_runs_has_no_result(tmp_path, iris):
    runtime = gated(iris, 60)
    with hosted_jobs(tmp_path / "r", iris) as jobs:
        location = submit(jobs)
        wait_until(runtime.entered.is_set)
        assert jobs.delete(location).json()["state"] == "cancelled"
        runtime.release_entered()
        wait_until(lambda: jobs.app.metrics.summary().jobs.ended == {("iris", "lost"): 1})
        answer = jobs.get(f"{location}/result")
        assert (answer.status_code, answer.json()["code"]) == (409, "JobEnded")


@pytest.mark.slow
def test_a_model_that_does_not_answer_in_time_is_tried_again_and_then_fails(tmp_path, iris):
    runtime = gated(iris, 60)
    with hosted_jobs(tmp_path / "r", iris, deadline_s=0.1, job_attempts=2) as jobs:
        job = jobs.ended(submit(jobs))
        assert (job["state"], job["attempts"], job["status"]) == ("failed", 2, 504)
        assert job["result"]["code"] == DeadlineExceeded.__name__
        assert jobs.get(f"{job['job']}/result").status_code == 504
        runtime.release_entered()


def test_an_answer_that_is_too_large_to_keep_fails_with_the_setting(tmp_path, iris):
    with hosted_jobs(tmp_path / "r", iris, max_job_bytes=40) as jobs:
        job = jobs.ended(submit(jobs))
        assert job["state"] == "failed"
        assert "expected at most 40 bytes (`max_job_bytes`)" in job["reason"]
        assert jobs.get(f"{job['job']}/result").status_code == 500


@pytest.mark.slow
def test_a_draining_version_takes_no_job(tmp_path, iris):
    with hosted_jobs(tmp_path / "r", iris) as jobs:
        iris.advance(State.DRAINING)
        location = submit(jobs)
        wait_until(lambda: jobs.app.metrics.summary().jobs.depths)
        assert jobs.get(location).json()["state"] == "waiting"


@pytest.mark.slow
def test_an_outage_of_the_catalog_is_logged_once_and_waited_for(tmp_path, iris, monkeypatch, caplog):
    with hosted_jobs(tmp_path / "r", iris) as jobs:
        rows, failures = jobs.service.registry.jobs, []
        exchange = rows.exchange

        def fail(*arguments, **options):
            if len(failures) < 3:
                failures.append(1)
                raise RegistryUnavailable("catalog", expected="an answer", found="none")
            return exchange(*arguments, **options)

        monkeypatch.setattr(rows, "exchange", fail)
        assert jobs.ended(submit(jobs))["state"] == "done"
    assert len(failures) == 3
    assert caplog.text.count("jobs: catalog unreachable") == 1


@pytest.mark.parametrize("count", [10])
def test_many_jobs_are_all_answered_as_requests_are(tmp_path, iris, count):
    with hosted_jobs(tmp_path / "r", iris) as jobs:
        want = jobs.post("/models/iris/predict", BODY).content
        for location in [submit(jobs) for _ in range(count)]:
            jobs.ended(location)
            assert jobs.get(f"{location}/result").content == want
