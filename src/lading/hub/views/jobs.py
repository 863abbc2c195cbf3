"""Inference jobs, requests that are answered later: the table of them, and one of them. Reads nothing.

Bodies and answers stay in the catalog, and of a webhook only its host is displayed: the rest may be a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

import msgspec

from lading.errors import UsageError
from lading.hub.views.tables import one_of
from lading.jobs import STATES, Depth, JobRecord, State
from lading.ref import check_name

JOBS_A_PAGE = 50
_LARGEST_NUMBER = 2**31 - 1


class JobsState(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs are shown; what is empty is any. ``before`` is the number of the last of the page before."""

    model: str = ""
    state: str = ""
    before: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> JobsState:
        """Return the state in the parameters of an address. Raises `InvalidName` and `UsageError`."""
        # Blanks come with what is copied into the form.
        chosen = cls(**{name: query.get(name, "").strip() for name in cls.__struct_fields__})
        if chosen.model:
            check_name(chosen.model)
        if chosen.state:
            one_of("`state`", chosen.state, STATES)
        _number(chosen.before)
        return chosen

    def link(self, **changes: str) -> str:
        """Return the query of the same page with changes; from its first page if they change its rows."""
        values = {**msgspec.structs.asdict(self), "before": "", **changes}
        return f"?{urlencode({name: value for name, value in values.items() if value})}"

    def asked(self) -> tuple[str | None, State | None, int | None]:
        """Return what the catalog is asked for: a model, a state, and below which number."""
        states: dict[str, State] = {state: state for state in STATES}
        return self.model or None, states.get(self.state), _number(self.before)


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job. Times are Unix times, 0 for never; ``status`` is that of its answer, 0 without one.

    ``version`` is the one that answered, 0 for none. ``hook`` is empty without a webhook.
    """

    id: str
    number: int
    name: str
    version: int
    state: str
    priority: int
    attempts: int
    reason: str
    status: int
    created_at: float
    started_at: float
    ended_at: float
    hook: str


class JobsPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of jobs, newest first. ``older`` is the number below which more are, empty for none.

    ``depths`` are the models with jobs that wait or run.
    """

    state: JobsState
    jobs: list[JobRow]
    older: str
    depths: list[Depth]
    states: tuple[str, ...] = STATES


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """One job. ``waited_s`` and ``ran_s`` are None while nobody knows them."""

    row: JobRow
    path: str
    replica: str
    digest: str
    side: str
    waited_s: float | None
    ran_s: float | None
    webhook_host: str
    hook_attempts: int
    hook_text: str


def jobs_page(state: JobsState, jobs: Sequence[JobRecord], depths: Sequence[Depth]) -> JobsPage:
    """Return the page with one more job than it shows, if more are behind it."""
    rows = [job_row(job) for job in jobs[:JOBS_A_PAGE]]
    older = str(rows[-1].number) if len(jobs) > len(rows) else ""
    return JobsPage(state=state, jobs=rows, older=older, depths=list(depths))


def job_row(job: JobRecord) -> JobRow:
    """Return what the table says of a job."""
    return JobRow(
        id=job.id,
        number=job.number,
        name=job.name,
        version=job.served.version if job.served is not None else 0,
        state=job.state,
        priority=job.priority,
        attempts=job.attempts,
        reason=job.reason,
        status=job.status,
        created_at=job.created_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
        hook=(job.hook or "waiting") if job.webhook else "",
    )


def job_page(job: JobRecord) -> JobPage:
    """Return the page of a job."""
    served = job.served
    return JobPage(
        row=job_row(job),
        path=job.path,
        replica=job.replica,
        digest=served.digest if served is not None else "",
        side=served.side if served is not None else "",
        # Below 0 if the clock of the database was set back since.
        waited_s=max(0.0, job.started_at - job.created_at) if job.started_at else None,
        ran_s=max(0.0, job.ended_at - job.started_at) if job.started_at and job.ended_at else None,
        webhook_host=job.webhook_host,
        hook_attempts=job.hook_attempts,
        hook_text=job.hook_text,
    )


def _number(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 11 and 0 < int(text) <= _LARGEST_NUMBER):
        raise UsageError("`before`", expected="the number of a job", found=f"`{text[:80]}`")
    return int(text)
