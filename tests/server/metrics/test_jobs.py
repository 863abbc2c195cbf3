"""What is counted of jobs, and what all workers show of it."""

from __future__ import annotations

from lading.jobs import Depth
from lading.server.inference.dataplane import DataPlane
from lading.server.metrics import Metrics
from lading.server.metrics.jobs import JobCounts, job_families
from lading.server.metrics.shared_memory import PrivateCounters


def page_of(store: PrivateCounters) -> dict[str, float]:
    """Return the samples of the page by name and labels."""
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in job_families(Metrics(DataPlane(), store).summary().jobs)
        for sample in family.samples
    }


def test_depths_are_shown_by_the_worker_that_asks_and_end_at_zero():
    store = PrivateCounters(1)
    counts = JobCounts(store)
    assert page_of(store) == {}
    counts.publish([Depth(name="iris", waiting=3, running=1, oldest_s=7.5)])
    assert page_of(store) == {
        "lading_jobs iris waiting": 3,
        "lading_jobs iris running": 1,
        "lading_jobs_oldest_seconds iris": 7.5,
    }
    counts.publish([])
    assert set(page_of(store).values()) == {0}
    counts.publish(None)
    assert page_of(store) == {}


def test_ends_and_webhooks_are_counted():
    store = PrivateCounters(1)
    counts = JobCounts(store)
    for outcome in ("done", "done", "failed"):
        counts.count_ended("iris", outcome)
    counts.count_webhook("delivered")
    assert page_of(store) == {
        "lading_jobs_ended_total iris done": 2,
        "lading_jobs_ended_total iris failed": 1,
        "lading_job_webhooks_total delivered": 1,
    }
