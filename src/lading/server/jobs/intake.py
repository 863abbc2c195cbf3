"""Stores jobs that arrive at the same time in one transaction: a disk makes some hundred of them a second.

Nobody waits for more to come: what arrives while a transaction is under way shares the next.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future

from lading.jobs import JobRecord, Submission
from lading.registry.jobs import Jobs

_MOST_AT_ONCE = 64


class Intake:
    """Stores jobs for the threads that call `store`; one of them at a time does so for all."""

    def __init__(self, jobs: Jobs, most_waiting: int) -> None:
        self._jobs = jobs
        self._most_waiting = most_waiting
        self._lock = threading.Lock()
        self._arrived: list[tuple[Submission, Future[JobRecord | None]]] = []
        self._is_storing = False

    @property
    def waiting(self) -> int:
        """How many jobs wait for the transaction that is under way."""
        return len(self._arrived)

    def store(self, submission: Submission) -> JobRecord:
        """Store a job. Raises what `Jobs.submit` raises."""
        stored: Future[JobRecord | None] = Future()
        with self._lock:
            self._arrived.append((submission, stored))
            # The thread that finds nobody storing stores for all, until nothing has arrived meanwhile.
            is_first, self._is_storing = not self._is_storing, True
        if is_first:
            self._store_all()
        return self._jobs.accepted(submission, stored.result(), self._most_waiting)

    def _store_all(self) -> None:
        while True:
            with self._lock:
                arrived, self._arrived = self._arrived[:_MOST_AT_ONCE], self._arrived[_MOST_AT_ONCE:]
                if not arrived:
                    self._is_storing = False
                    return
            try:
                records = self._jobs.add(
                    [submission for submission, _ in arrived], most_waiting=self._most_waiting
                )
            except BaseException as error:  # noqa: BLE001 - each of those that wait raises it
                for _, stored in arrived:
                    stored.set_exception(error)
            else:
                for (_, stored), record in zip(arrived, records, strict=True):
                    stored.set_result(record)
