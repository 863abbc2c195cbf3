"""Webhooks of jobs that have ended: signed as Standard Webhooks, sent again until they are taken.

What is due is in the catalog: a server that is killed between an attempt and its record leaves a message that
another sends again, with the same ``webhook-id``. Decides nothing about where it may go (`hook_rules`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from lading import bounded_http
from lading.blobs.retry import AnswerRefused
from lading.clock import back_off_s, iso_time
from lading.errors import RegistryUnavailable, UsageError
from lading.jobs import HookCall, HookResult, JobRecord
from lading.registry import Registry
from lading.server.jobs.hook_rules import HookRules
from lading.server.metrics.jobs import JobCounts

log = logging.getLogger("lading.server")

MOST_ATTEMPTS = 15
"""With pauses that double up to an hour, so many attempts take about seven hours."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 3600.0
POLL_S = 1.0

_AT_ONCE = 16
_REQUEST_S = 10.0
_TAKEN_S = 15.0
"""After so long without a record of its attempt, a webhook is due again: longer than an attempt can take."""
_MOST_ANSWER_BYTES = 64 * 1024
_GONE = 410
_LONGEST_TEXT = 300


class Webhooks:
    """Delivers the webhooks that are due, in the thread that calls `run`."""

    def __init__(
        self,
        registry: Registry,
        rules: HookRules,
        counts: JobCounts,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._jobs = registry.jobs
        self._rules = rules
        self._counts = counts
        self._clock = clock
        # No proxy of the environment: whether an address may be asked is only known where it is connected to.
        self._client = bounded_http.open_client(may_connect=rules.may_connect, trust_env=False)
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Have `run` end after what is under way."""
        self._stopped.set()

    def run(self) -> None:
        """Deliver until `stop` is called; a catalog that is unreachable is waited for."""
        failure = ""
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="job webhooks") as pool:
            while not self._stopped.is_set():
                try:
                    more = self._turn(pool)
                except RegistryUnavailable:
                    more = False  # The worker of the jobs says so in the log.
                except Exception as error:
                    more = False
                    # The edge of a thread. The same failure is logged once.
                    if failure != (failure := f"{type(error).__name__}: {error}"):
                        log.exception("webhooks of jobs: a turn failed, trying again")
                if not more:
                    self._stopped.wait(POLL_S)
        self._client.close()

    def _turn(self, pool: ThreadPoolExecutor) -> bool:
        calls = self._jobs.due_webhooks(_AT_ONCE, _TAKEN_S)
        if not calls:
            return False
        # All at the same time: a receiver that does not answer holds the others up by its timeout at most.
        results = list(pool.map(self._deliver, calls))
        self._jobs.store_deliveries(results)
        for result in results:
            outcome = (
                "delivered" if result.delivered else "failed" if result.again_s is not None else "given_up"
            )
            self._counts.count_webhook(outcome)
            if outcome == "given_up":
                log.warning("the webhook of job %s is given up: %s", result.id, result.text)
        return len(calls) == _AT_ONCE

    def _deliver(self, call: HookCall) -> HookResult:
        """Send one message, and return the outcome."""
        job, text, gone = call.job, "", False
        try:
            # Again, because the settings may have changed since the job came.
            self._rules.check(job.webhook)
            status = self._post(job)
            # 410 is how a receiver of Standard Webhooks says that it wants no more.
            text, gone = f"status {status}", status == _GONE
            if 200 <= status < 300:
                return HookResult(id=job.id, attempts=call.attempts, delivered=True, text=text)
        except UsageError as error:
            text = error.message  # Another server of this registry may be allowed to.
        except (httpx.HTTPError, AnswerRefused, OSError) as error:
            text = f"{type(error).__name__}: {error}"
        is_last = gone or call.attempts >= MOST_ATTEMPTS
        pause_s = back_off_s(call.attempts, first_s=FIRST_PAUSE_S, most_s=LONGEST_PAUSE_S)
        again_s = None if is_last else pause_s
        return HookResult(
            id=job.id, attempts=call.attempts, delivered=False, text=text[:_LONGEST_TEXT], again_s=again_s
        )

    def _post(self, job: JobRecord) -> int:
        # The body is the same at each attempt; its signature is not, as the time is signed with it.
        body = msgspec.json.encode(message_of(job))
        message_id, timestamp = f"msg_{job.id}", int(self._clock())
        headers = {
            "content-type": "application/json",
            "user-agent": "lading",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": self._rules.signatures(message_id, timestamp, body),
        }
        request = self._client.build_request("POST", job.webhook, content=body, headers=headers)
        answer = bounded_http.fetch(
            self._client,
            request,
            max_bytes=_MOST_ANSWER_BYTES,
            within_s=_REQUEST_S,
            # The one whom the caller named could send it anywhere else.
            may_follow=lambda _request: False,
        )
        return answer.status_code


def message_of(job: JobRecord) -> dict[str, Any]:
    """Return what a webhook says: how the job ended and where its result is, without the result itself."""
    served = job.served
    about = {"version": served.version, "digest": served.digest} if served is not None else {}
    return {
        "type": f"job.{job.state}",
        "timestamp": iso_time(job.ended_at, "milliseconds"),
        "data": {
            "id": job.id,
            "model": job.name,
            "state": job.state,
            "status": job.status,
            **about,
            "reason": job.reason,
            "job": f"/jobs/{job.id}",
            "result": f"/jobs/{job.id}/result",
        },
    }


def host_of(url: str) -> str:
    """Return the host of a webhook, for people to see: the rest of its URL may be a secret."""
    return urlsplit(url).hostname or ""
