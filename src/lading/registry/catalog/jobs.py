"""The contract of a catalog's queue of jobs: leases by the catalog's clock, results that are written once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lading.jobs import (
        Answer,
        Claim,
        Depth,
        HookCall,
        HookResult,
        JobRecord,
        Outcome,
        Requeued,
        State,
        Submission,
    )
    from lading.registry.records import Removed


class JobCatalog(Protocol):
    """Jobs, in the order of their priority and then of their age.

    A claim is a lease: one that is not renewed ends, and then another server may claim the job. What a claim
    that has ended reports changes nothing.
    """

    def add(self, submissions: Sequence[Submission], *, most_waiting: int) -> list[JobRecord | None]:
        """Store jobs together; return each, or that which has its key, or None if its model has so many."""

    def claim(
        self, targets: Sequence[str], limit: int, *, token: str, replica: str, ttl_s: float
    ) -> list[Claim]:
        """Claim at most `limit` waiting jobs for one of `targets`, in their order."""

    def renew(self, claims: Sequence[tuple[str, str]], ttl_s: float) -> set[str]:
        """Renew claims, which are ids and tokens; return the ids of those that still hold."""

    def finish(self, outcomes: Sequence[Outcome]) -> set[str]:
        """Store how jobs ended; return the ids of those whose claims still held."""

    def requeue(self, jobs: Sequence[Requeued]) -> None:
        """Have jobs wait again, if their claims still hold."""

    def recover(self, ttl_s: float, most_attempts: int) -> list[str]:
        """Have jobs wait again whose claims have ended; return the ids of those that failed instead.

        A job fails whose claims have ended so `most_attempts` times.
        """

    def get(self, job_id: str) -> JobRecord | None:
        """Return a job, or None."""

    def answer(self, job_id: str) -> Answer | None:
        """Return the answer of a job, or None if there is none yet."""

    def find(self, name: str | None, state: State | None, before: int | None, limit: int) -> list[JobRecord]:
        """Return at most `limit` jobs with numbers below `before`, newest first."""

    def cancel(self, job_id: str) -> JobRecord | None:
        """Cancel a job that waits or runs; return it as it is now, or None."""

    def depths(self) -> list[Depth]:
        """Return for each model with jobs that wait or run how many there are."""

    def due_webhooks(self, limit: int, ttl_s: float) -> list[HookCall]:
        """Take webhooks that are due; one whose result is not stored within `ttl_s` is due again."""

    def store_deliveries(self, results: Sequence[HookResult]) -> None:
        """Store what attempts to deliver webhooks came to."""

    def prune(self, older_than_s: float, *, dry_run: bool) -> list[Removed]:
        """Remove jobs that ended longer ago than that."""
