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
from contextlib import suppress
from typing import Any

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
_GATHER_S, _LONGEST_GATHER_S = 0.005, 0.25
"""How long what comes back is gathered for one transaction: twice as long as the last one took."""
_REQUEST_S = 10.0
_TAKEN_S = 15.0
"""After so long without a record of its attempt, a webhook is due again: longer than an attempt can take."""
_MOST_ANSWER_BYTES = 64 * 1024
_GONE = 410
_LONGEST_TEXT = 300


class Webhooks:
    """Delivers the webhooks that are due, in the thread that calls `run`.

    Each transaction stores what has come back and takes as many as there are free senders: one receiver that
    does not answer holds up one sender, and not those who are asked beside it.
    """

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
        self._changed = threading.Condition()
        self._under_way = 0
        self._results: list[HookResult] = []
        self._failure = ""
        self._gather_s = _GATHER_S
        self._is_woken = False
        self._stops = False

    def wake(self) -> None:
        """Look for webhooks now: a job with one has ended here."""
        with self._changed:
            self._is_woken = True
            self._changed.notify()

    def stop(self) -> None:
        """Have `run` end after what is under way."""
        with self._changed:
            self._stops = True
            self._changed.notify()

    def run(self) -> None:
        """Deliver until `stop` is called; a catalog that is unreachable is waited for."""
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="job webhooks") as pool:
            while not self._stops:
                self._turn(pool)
                with self._changed:
                    self._changed.wait_for(self._has_news, POLL_S)
                    # What comes back together is stored together: each transaction is written to a disk.
                    self._changed.wait_for(self._are_all_back, self._gather_s)
                    self._is_woken = False
        # Where this fails, another server sends those messages once more.
        with suppress(RegistryUnavailable):
            self._exchange(0)
        self._client.close()

    def _has_news(self) -> bool:
        # While the catalog is unreachable, what has come back is no news.
        return self._stops or self._is_woken or (bool(self._results) and not self._failure)

    def _are_all_back(self) -> bool:
        return self._stops or len(self._results) == self._under_way

    def _turn(self, pool: ThreadPoolExecutor) -> None:
        """Store what has come back, and send as many as there are free senders."""
        failure, self._failure = self._failure, ""
        try:
            for call in self._exchange(_AT_ONCE - self._under_way + len(self._results)):
                pool.submit(self._send, call)
        except RegistryUnavailable:
            self._failure = "unreachable"  # The worker of the jobs says so in the log.
        except Exception as error:
            # The edge of a thread. The same failure is logged once.
            self._failure = f"{type(error).__name__}: {error}"
            if self._failure != failure:
                log.exception("webhooks of jobs: a turn failed, trying again")

    def _exchange(self, free: int) -> list[HookCall]:
        """Store the results that have come, and take at most `free` webhooks that are due."""
        with self._changed:
            results = list(self._results)
        began = time.monotonic()
        calls = self._jobs.exchange_webhooks(results, free, _TAKEN_S)
        self._gather_s = min(max(2 * (time.monotonic() - began), _GATHER_S), _LONGEST_GATHER_S)
        with self._changed:
            # Only now: of a transaction that fails, the results are stored by the next.
            del self._results[: len(results)]
            self._under_way += len(calls) - len(results)
        for result in results:
            self._count(result)
        return calls

    def _count(self, result: HookResult) -> None:
        if result.delivered:
            self._counts.count_webhook("delivered")
        elif result.again_s is not None:
            self._counts.count_webhook("failed")
        else:
            self._counts.count_webhook("given_up")
            log.warning("the webhook of job %s is given up: %s", result.id, result.text)

    def _send(self, call: HookCall) -> None:
        result: HookResult | None = None
        try:
            result = self._deliver(call)
        except Exception:
            # The edge of a thread. A sender that ends without a result would not be free again.
            log.exception("the webhook of job %s: an attempt failed", call.job.id)
        with self._changed:
            if result is not None:
                self._results.append(result)
            else:
                self._under_way -= 1  # It is due again after `_TAKEN_S`.
            self._changed.notify()

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
