"""Listing the jobs of a registry."""

from __future__ import annotations

import json
import re

import pytest


@pytest.mark.slow
def test_jobs_are_listed_with_what_waits(lading, two_jobs):
    code, stdout, stderr = lading("jobs", "list", "iris")
    assert code == 0
    assert "job-1" in stdout
    assert "iris:3" in stdout
    assert re.search(r"iris: 1 waiting, the oldest for \d+ s, 0 running", stderr)
    listed = json.loads(lading("jobs", "list", "--state", "done", "--json")[1])
    assert [job["id"] for job in listed["jobs"]] == ["job-1"]
    assert listed["open"][0]["waiting"] == 1
    assert json.loads(lading("jobs", "list", "--before", "2", "--json")[1])["jobs"][0]["id"] == "job-1"
    assert "no such jobs" in lading("jobs", "list", "wine")[2]


def test_no_jobs_say_how_there_are_some(lading, registry):
    assert "`lading serve --jobs` takes some" in lading("jobs", "list")[2]
