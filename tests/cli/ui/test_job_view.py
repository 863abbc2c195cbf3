"""How jobs are shown on the command line."""

from __future__ import annotations

from typing import Any

from lading.cli.ui.job_view import JOB_HEADER, STATES, job_fields, job_json, job_row
from lading.jobs import STATES as ALL_STATES
from lading.jobs import AnsweredBy, JobRecord


def record(**changes: Any) -> JobRecord:
    values = {
        "id": "4f2d",
        "number": 7,
        "name": "iris",
        "path": "/models/iris/predict",
        "priority": 2,
        "state": "waiting",
        "created_at": 1_700_000_000.0,
        "fingerprint": "f",
        **changes,
    }
    return JobRecord(**values)


def test_the_states_are_those_of_jobs():
    assert STATES == ALL_STATES


def test_a_job_that_waits_has_no_answer():
    row = job_row(record())
    assert len(row) == len(JOB_HEADER)
    assert (row[2], row[3], row[-1]) == ("iris", "waiting", "–")
    assert job_json(record())["status"] is None


def test_a_job_that_failed_says_why_and_how_far_its_webhook_got():
    served = AnsweredBy(model="iris", version=3, digest="sha256:3", side="candidate")
    failed = record(
        state="failed",
        reason="no time left",
        status=504,
        served=served,
        attempts=3,
        replica="web-1",
        ended_at=1_700_000_009.0,
        webhook="https://hooks.example.com/secret",
        hook="due",
        hook_attempts=2,
        hook_text="status 503",
    )
    fields = dict(job_fields(failed))
    assert fields["reason"] == "no time left"
    assert fields["answered by"] == "iris:3 (candidate) sha256:3"
    assert fields["webhook"] == "hooks.example.com, due, 2 attempts: status 503"
    assert fields["ended"] == "2023-11-14T22:13:29.000Z"
    assert job_row(failed)[2] == "iris:3"
    assert job_json(failed)["webhook"] == "hooks.example.com"
