"""How jobs are shown on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lading.cli.ui import printing
from lading.clock import iso_time

if TYPE_CHECKING:
    from lading.jobs import JobRecord

# Those of `lading.jobs`, which the commands do not import before they run.
STATES = ("waiting", "running", "done", "failed", "cancelled")

JOB_HEADER = ("number", "id", "model", "state", "priority", "created", "attempts", "answer")


def job_row(record: JobRecord) -> tuple[str, ...]:
    """Return the cells under `JOB_HEADER`."""
    return (
        str(record.number),
        record.id,
        record.name if record.served is None else f"{record.served.model}:{record.served.version}",
        record.state,
        str(record.priority),
        printing.short_time(iso_time(record.created_at)),
        str(record.attempts),
        str(record.status or "–"),
    )


def job_fields(record: JobRecord) -> Iterator[tuple[str, str]]:
    """Iterate over what is known of a job, by name."""
    yield "id", record.id
    yield "model", record.name
    yield "route", record.path
    yield "state", record.state
    if record.reason:
        yield "reason", record.reason
    yield "priority", str(record.priority)
    yield "attempts", str(record.attempts)
    for name, at in (
        ("created", record.created_at),
        ("started", record.started_at),
        ("ended", record.ended_at),
    ):
        if at:
            yield name, iso_time(at, "milliseconds")
    if record.replica:
        yield "replica", record.replica
    if record.status:
        yield "answer", f"status {record.status}"
    if record.served is not None:
        side = f" ({record.served.side})" if record.served.side else ""
        yield "answered by", f"{record.served.model}:{record.served.version}{side} {record.served.digest}"
    if record.webhook:
        state = record.hook or "waits for the end"
        last = f": {record.hook_text}" if record.hook_text else ""
        attempts = printing.plural(record.hook_attempts, "attempt")
        yield "webhook", f"{record.webhook_host}, {state}, {attempts}{last}"


def job_json(record: JobRecord) -> dict[str, Any]:
    """Return a job as JSON output has it."""
    served = record.served
    return {
        "number": record.number,
        "id": record.id,
        "model": record.name,
        "route": record.path,
        "state": record.state,
        "reason": record.reason,
        "priority": record.priority,
        "attempts": record.attempts,
        "created_at": iso_time(record.created_at, "milliseconds"),
        "started_at": iso_time(record.started_at, "milliseconds") if record.started_at else None,
        "ended_at": iso_time(record.ended_at, "milliseconds") if record.ended_at else None,
        "replica": record.replica,
        "status": record.status or None,
        "version": served.version if served is not None else None,
        "digest": served.digest if served is not None else None,
        "side": served.side if served is not None else "",
        "webhook": record.webhook_host,
        "webhook_state": record.hook,
        "webhook_attempts": record.hook_attempts,
        "webhook_last": record.hook_text,
    }
