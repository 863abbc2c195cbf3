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
        Wanted,
    )
    from lading.registry.records import Removed


class JobCatalog(Protocol):
    """Jobs, in the order of their priority and then of their age.

    A claim is a lease: one that is not renewed ends, and then another server may claim the job. What a claim
    that has ended reports changes nothing.
    """

    def add(self, submissions: Sequence[Submission], *, most_waiting: int) -> list[JobRecord | None]:
        """Store jobs together; return each, or that which has its key, or None if its model has so many."""

    def exchange(
        self, outcomes: Sequence[Outcome], requeued: Sequence[Requeued], wanted: Wanted | None
    ) -> tuple[set[str], list[Claim]]:
        """Store how claimed jobs ended, have others wait again, and claim new ones, in one transaction.

        Reports of claims that have ended are ignored. Return the ids of the outcomes that were stored, and
        the claims in the order of the queue.
        """

    def renew(self, claims: Sequence[tuple[str, str]], ttl_s: float) -> set[str]:
        """Renew claims, which are ids and tokens; return the ids of those that still hold."""

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

    def exchange_webhooks(self, results: Sequence[HookResult], limit: int, ttl_s: float) -> list[HookCall]:
        """Store what attempts to deliver webhooks came to, and take at most `limit` that are due.

        One whose result is not stored within `ttl_s` is due again.
        """

    def prune(self, older_than_s: float, *, dry_run: bool) -> list[Removed]:
        """Remove jobs that ended longer ago than that."""
