"""Inference jobs as servers leave them in a catalog: one of each state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lading.jobs import Answer, AnsweredBy, HookResult, Outcome, Submission
from lading.registry import Registry

IDS = tuple(f"{number}f" + "0" * 30 for number in range(1, 6))
DONE, FAILED, CANCELLED, RUNNING, WAITING = IDS
REASON = "`x-lading-key`: expected text, found none"


def submission(job_id: str, name: str = "iris", **changes: Any) -> Submission:
    """Return a job for the live version of a model."""
    values = {"path": f"/models/{name}/predict", "headers": {}, "body": b"{}", "fingerprint": "f", **changes}
    return Submission(id=job_id, name=name, target=name, **values)


def store(
    registry: Registry, name: str = "iris", tick: Callable[[float], object] = lambda _seconds: None
) -> None:
    """Store a job of each state; `tick` lets seconds go by."""
    jobs = registry.jobs

    def begin(job_id: str, **changes: Any) -> None:
        jobs.submit(submission(job_id, name, **changes), most_waiting=99)
        tick(2.5)
        jobs.claim([name], 1, token=job_id, replica="models-1", ttl_s=3600.0)

    begin(DONE, webhook="https://hooks.bank.example/secret")
    tick(0.4)
    served = AnsweredBy(model=name, version=1, digest=f"sha256:{'3c' * 32}", side="live")
    answer = Answer(status=200, content_type="application/json", body=b"{}", served=served)
    jobs.finish([Outcome(id=DONE, token=DONE, state="done", answer=answer)])
    (call,) = jobs.exchange_webhooks([], 1, 30.0)
    result = HookResult(id=DONE, attempts=call.attempts, delivered=True, text="status 204")
    jobs.exchange_webhooks([result], 0, 30.0)
    begin(FAILED)
    jobs.finish([Outcome(id=FAILED, token=FAILED, state="failed", reason=REASON)])
    tick(60.0)
    jobs.submit(submission(CANCELLED, name), most_waiting=99)
    jobs.cancel(CANCELLED)
    begin(RUNNING, priority=5)
    tick(1.0)
    jobs.submit(submission(WAITING, name, priority=-10), most_waiting=99)
    tick(30.0)
