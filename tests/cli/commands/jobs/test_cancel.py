"""Cancelling a job."""

from __future__ import annotations

import json


def test_a_job_is_cancelled_once(lading, two_jobs):
    assert lading("jobs", "cancel", "job-2")[:2] == (0, "job-2\n")
    assert json.loads(lading("jobs", "cancel", "job-2", "--json")[1])["state"] == "cancelled"
    code, _, stderr = lading("jobs", "cancel", "job-1")
    assert code == 1
    assert "found one that is done" in stderr
