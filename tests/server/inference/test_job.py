"""One accepted prediction: its outcome, its deadline, and how it is cancelled."""

from __future__ import annotations

import numpy as np
import pytest

from lading.errors import RunFailed
from lading.server.inference.job import Job
from lading.server.inference.version import ServedVersion


@pytest.fixture
def job() -> Job:
    return Job(ServedVersion("iris", 1, "sha256:1"), {}, None, lambda outputs: outputs)


def test_an_outcome_is_a_result_or_an_error(job):
    assert (job.result, job.error) == (None, None)
    job.outcome = outputs = {"label": np.zeros(1)}
    assert (job.result, job.error) == (outputs, None)
    job.outcome = error = RunFailed("x")
    assert (job.result, job.error) == (None, error)


def test_a_job_that_is_cancelled_while_it_waits_says_so_to_its_queue(job):
    cancelled: list[Job] = []
    job.on_cancel = cancelled.append
    job.cancel()
    assert job.cancelled
    assert cancelled == [job]


def test_a_job_that_does_not_wait_can_be_cancelled_as_well(job):
    job.cancel()
    assert job.cancelled


@pytest.mark.parametrize(
    ("deadline", "is_overdue"), [(0.0, False), (9.0, True), (10.0, False), (11.0, False)]
)
def test_a_job_is_overdue_after_its_deadline_if_it_has_one(job, deadline, is_overdue):
    job.deadline = deadline
    assert job.is_overdue(now=10.0) is is_overdue
