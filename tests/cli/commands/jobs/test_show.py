"""Showing one job, or its answer."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


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


@pytest.mark.slow
def test_the_answer_is_printed_byte_for_byte(two_jobs):
    command = [sys.executable, "-m", "lading", "jobs", "show", "job-1", "--result"]
    printed = subprocess.run(command, capture_output=True, check=True).stdout
    assert printed == two_jobs.jobs.answer("job-1").body == b'{"prediction":[1]}'


def test_an_answer_that_does_not_exist_yet_is_a_usage_error(lading, two_jobs):
    code, _, stderr = lading("jobs", "show", "job-2", "--result")
    assert code == 2
    assert "found one that is waiting" in stderr
    assert lading("jobs", "show", "job-1", "--result", "--json")[0] == 2
