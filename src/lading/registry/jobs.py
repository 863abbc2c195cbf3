"""The jobs of a registry: submitted by any server, run by one that has the model. Runs none itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lading.errors import JobEnded, JobKeyReused, JobNotFound, QueueFull
from lading.jobs import Wanted
from lading.settings import store_settings

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
    from lading.registry.catalog import Catalog
    from lading.registry.records import Removed

# A guess: how fast a queue empties depends on models that this server may not have.
_RETRY_AFTER_S = 10


class Jobs:
    """The queue of jobs in a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._rows = catalog.jobs

    def submit(self, submission: Submission, *, most_waiting: int) -> JobRecord:
        """Store a job and return it; with a key that a job of the model has already, return that one.

        Raises `JobKeyReused` if that one is another request, and `QueueFull` if `most_waiting` jobs of the
        model wait.
        """
        return self.accepted(submission, self.add([submission], most_waiting=most_waiting)[0], most_waiting)

    def add(self, submissions: Sequence[Submission], *, most_waiting: int) -> list[JobRecord | None]:
        """Store jobs in one transaction; each record is for `accepted` to look at."""
        return self._rows.add(submissions, most_waiting=most_waiting)

    def accepted(self, submission: Submission, record: JobRecord | None, most_waiting: int) -> JobRecord:
        """Return the record that `add` returned for a job. Raises as `submit`."""
        if record is None:
            raise QueueFull(
                f"jobs of `{submission.name}`",
                expected=f"at most {most_waiting} that wait",
                found="as many",
                retry_after_s=_RETRY_AFTER_S,
            )
        # Without a key the record is the job itself, and the same by definition.
        if record.fingerprint != submission.fingerprint:
            raise JobKeyReused(
                f"`idempotency-key` `{submission.key}`",
                expected=f"the request of job `{record.id}`, which has this key",
                found="another one",
                hint="use a new key for a new request",
            )
        return record

    def exchange(
        self, outcomes: Sequence[Outcome], requeued: Sequence[Requeued], wanted: Wanted | None
    ) -> tuple[set[str], list[Claim]]:
        """Report how claimed jobs ended, and claim others, in one transaction: each is written to a disk.

        Return the ids of the outcomes whose claims still held, and the claims in the order of the queue.
        """
        return self._rows.exchange(outcomes, requeued, wanted)

    def claim(
        self, targets: Sequence[str], limit: int, *, token: str, replica: str, ttl_s: float
    ) -> list[Claim]:
        """Claim at most `limit` jobs for one of `targets`, in their order; each claim needs a new `token`."""
        wanted = Wanted(targets=tuple(targets), limit=limit, token=token, replica=replica, ttl_s=ttl_s)
        return self._rows.exchange((), (), wanted)[1]

    def renew(self, claims: Sequence[tuple[str, str]], ttl_s: float) -> set[str]:
        """Renew claims, which are ids and tokens; return the ids of those that still hold."""
        return self._rows.renew(claims, ttl_s)

    def finish(self, outcomes: Sequence[Outcome]) -> set[str]:
        """Store how jobs ended, once each; return the ids of those whose claims still held."""
        return self._rows.exchange(outcomes, (), None)[0]

    def requeue(self, jobs: Sequence[Requeued]) -> None:
        """Have claimed jobs wait again."""
        self._rows.exchange((), jobs, None)

    def recover(self, ttl_s: float, most_attempts: int) -> list[str]:
        """Have jobs wait again whose servers are gone; return the ids of those that failed for good."""
        return self._rows.recover(ttl_s, most_attempts)

    def get(self, job_id: str) -> JobRecord:
        """Return a job. Raises `JobNotFound`."""
        return self._known(self._rows.get(job_id) if _may_be_id(job_id) else None, job_id)

    def answer(self, job_id: str) -> Answer | None:
        """Return the answer of a job that has ended, or None if there is none."""
        return self._rows.answer(job_id) if _may_be_id(job_id) else None

    def find(
        self,
        name: str | None = None,
        *,
        state: State | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[JobRecord]:
        """Return jobs of one model or of all, newest first; `before` is the number of the last one seen."""
        return self._rows.find(name, state, before, limit)

    def cancel(self, job_id: str) -> JobRecord:
        """Cancel a job that waits or runs; again is no error. Raises `JobNotFound` and `JobEnded`."""
        record = self._known(self._rows.cancel(job_id) if _may_be_id(job_id) else None, job_id)
        if record.state != "cancelled":
            raise JobEnded(
                f"job `{job_id}`", expected="one that waits or runs", found=f"one that {_is(record)}"
            )
        return record

    def depths(self) -> list[Depth]:
        """Return for each model with open jobs how many wait and run."""
        return self._rows.depths()

    def exchange_webhooks(self, results: Sequence[HookResult], limit: int, ttl_s: float) -> list[HookCall]:
        """Store what attempts to deliver webhooks came to, and take at most `limit` that are due.

        One whose result is not stored within `ttl_s` is due again.
        """
        return self._rows.exchange_webhooks(results, limit, ttl_s)

    def prune(self, *, dry_run: bool) -> list[Removed]:
        """Remove jobs, with their results, that ended longer ago than they are kept."""
        return self._rows.prune(store_settings().jobs_kept_hours * 3600, dry_run=dry_run)

    def _known(self, record: JobRecord | None, job_id: str) -> JobRecord:
        if record is None:
            kept = (
                f"results are kept for {store_settings().jobs_kept_hours:g} hours (`LADING_JOBS_KEPT_HOURS`)"
            )
            raise JobNotFound(f"job `{job_id[:64]}`", expected="a job", found="none with this id", hint=kept)
        return record


def _may_be_id(text: str) -> bool:
    # A path may hold any text, and PostgreSQL refuses some of it.
    return text.isascii() and text.isprintable()


def _is(record: JobRecord) -> str:
    return "has failed" if record.state == "failed" else f"is {record.state}"
