"""The queue of jobs in SQL. Claims are leases by the clock of the database, and results are written once.

PostgreSQL skips what another transaction has locked; in SQLite one transaction writes at a time. A report is
stored only if the claim that it names still holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    Boolean,
    Connection,
    Float,
    and_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    tuple_,
    update,
)

from lading.jobs import (
    ENDED,
    Answer,
    AnsweredBy,
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
from lading.registry.catalog.sql.database import Database
from lading.registry.catalog.sql.statements import json_text, unix_now, upsert
from lading.registry.catalog.sql.tables import jobs
from lading.registry.records import Removed

_C = jobs.c
# What a record shows: all columns but the bodies, which may have megabytes.
_SHOWN = (
    *(_C.id, _C.number, _C.name, _C.path, _C.rank, _C.state, _C.created_at, _C.fingerprint),
    *(_C.started_at, _C.ended_at, _C.attempts, _C.replica, _C.reason, _C.status, _C.served),
    *(_C.webhook, _C.hook, _C.hook_attempts, _C.hook_text),
)
_FREE = {"claim": "", "expires_at": 0.0}


class SqlJobs:
    """A `JobCatalog` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, submissions: Sequence[Submission], *, most_waiting: int) -> list[JobRecord | None]:
        """Store jobs together; return each, or that which has its key, or None if its model has so many."""
        with self._database.transaction("write") as connection:
            # In the order of their keys: two transactions with the same ones do not wait for each other.
            ordered = sorted(submissions, key=lambda submission: (submission.name, submission.key))
            by_key = _with_keys(connection, ordered)
            fresh = _with_room(
                connection, (job for job in ordered if (job.name, job.key) not in by_key), most_waiting
            )
            by_id = _insert(connection, fresh)
            # Of two with one key, here or in two transactions, the later stores nothing.
            again = [job for job in ordered if job.id not in by_id and (job.name, job.key) not in by_key]
            by_key |= _with_keys(connection, again)
        return [by_id.get(job.id) or by_key.get((job.name, job.key)) for job in submissions]

    def exchange(
        self, outcomes: Sequence[Outcome], requeued: Sequence[Requeued], wanted: Wanted | None
    ) -> tuple[set[str], list[Claim]]:
        """Store how claimed jobs ended, have others wait again, and claim new ones, in one transaction."""
        if wanted is not None and (wanted.limit < 1 or not wanted.targets):
            wanted = None
        if not (outcomes or requeued) and (wanted is None or not self._has_free(wanted.targets)):
            return set(), []
        with self._database.transaction("write") as connection:
            held = _lock_held(connection, (*outcomes, *requeued))
            ended = [outcome for outcome in outcomes if (outcome.id, outcome.token) in held]
            _finish(connection, ended)
            _requeue(connection, [job for job in requeued if (job.id, job.token) in held])
            claims = _claim(connection, wanted) if wanted is not None else []
        return {outcome.id for outcome in ended}, claims

    def renew(self, claims: Sequence[tuple[str, str]], ttl_s: float) -> set[str]:
        """Renew claims, which are ids and tokens; return the ids of those that still hold."""
        if not claims:
            return set()
        with self._database.transaction("write") as connection:
            held = and_(_C.state == "running", tuple_(_C.id, _C.claim).in_(claims))
            query = update(jobs).where(held).values(expires_at=unix_now(connection) + ttl_s)
            return set(connection.execute(query.returning(_C.id)).scalars())

    def recover(self, ttl_s: float, most_attempts: int) -> list[str]:
        """Have jobs wait again whose claims have ended; return the ids of those that failed instead."""
        with self._database.transaction("read") as connection:
            if connection.execute(_expired(connection, ttl_s).limit(1)).first() is None:
                return []
        with self._database.transaction("write") as connection:
            now = unix_now(connection)
            expired = _expired(connection, ttl_s).with_for_update(skip_locked=True)
            numbers = connection.execute(expired).scalars().all()
            if not numbers:
                return []
            rows = _C.number.in_(numbers)
            reason = (
                f"it was begun {most_attempts} times, and each time the server that ran it ended without an "
                "answer"
            )
            # A job may end every server that takes it: the last attempt is not followed by another.
            failed = update(jobs).where(rows, _C.attempts >= most_attempts)
            failed = failed.values(state="failed", reason=reason, ended_at=now, **_ended(now))
            lost = connection.execute(failed.returning(_C.id)).scalars().all()
            again = update(jobs).where(rows, _C.attempts < most_attempts)
            text = "the server that ran it ended without an answer"
            connection.execute(again.values(state="waiting", reason=text, **_FREE))
        return list(lost)

    def get(self, job_id: str) -> JobRecord | None:
        """Return a job, or None."""
        with self._database.transaction("read") as connection:
            return _one(connection, _C.id == job_id)

    def answer(self, job_id: str) -> Answer | None:
        """Return the answer of a job, or None if there is none yet."""
        columns = (_C.status, _C.answer_type, _C.answer_headers, _C.answer, _C.served)
        with self._database.transaction("read") as connection:
            row = connection.execute(select(*columns).where(_C.id == job_id, _C.state.in_(ENDED))).first()
        if row is None or row.answer is None:
            return None
        return Answer(
            status=row.status,
            content_type=row.answer_type,
            body=bytes(row.answer),
            served=_served(row.served),
            headers=msgspec.json.decode(row.answer_headers, type=tuple[tuple[str, str], ...]),
        )

    def find(self, name: str | None, state: State | None, before: int | None, limit: int) -> list[JobRecord]:
        """Return at most `limit` jobs with numbers below `before`, newest first."""
        query = select(*_SHOWN)
        if name is not None:
            query = query.where(_C.name == name)
        if state is not None:
            query = query.where(_C.state == state)
        if before is not None:
            query = query.where(_C.number < before)
        with self._database.transaction("read") as connection:
            rows = connection.execute(query.order_by(_C.number.desc()).limit(limit)).all()
        return [_record(row) for row in rows]

    def cancel(self, job_id: str) -> JobRecord | None:
        """Cancel a job that waits or runs; return it as it is now, or None."""
        with self._database.transaction("write") as connection:
            now = unix_now(connection)
            query = update(jobs).where(_C.id == job_id, _C.state.in_(("waiting", "running")))
            # Without its claim: the server that runs it has nothing to report any more.
            connection.execute(query.values(state="cancelled", reason="", ended_at=now, **_ended(now)))
            return _one(connection, _C.id == job_id)

    def depths(self) -> list[Depth]:
        """Return for each model with jobs that wait or run how many there are."""
        waits = _C.state == "waiting"
        with self._database.transaction("read") as connection:
            query = select(
                _C.name,
                func.sum(case((waits, 1), else_=0)).label("waiting"),
                func.count().label("open"),
                (unix_now(connection) - func.min(case((waits, _C.created_at)))).label("oldest_s"),
            )
            query = query.where(_C.state.in_(("waiting", "running"))).group_by(_C.name).order_by(_C.name)
            rows = connection.execute(query).all()
        return [
            Depth(
                name=row.name,
                waiting=row.waiting,
                running=row.open - row.waiting,
                # Below 0 if the clock of the database was set back since.
                oldest_s=max(0.0, row.oldest_s or 0.0),
            )
            for row in rows
        ]

    def exchange_webhooks(self, results: Sequence[HookResult], limit: int, ttl_s: float) -> list[HookCall]:
        """Store what attempts to deliver webhooks came to, and take at most `limit` that are due."""
        if not results and (limit < 1 or not self._has_due()):
            return []
        with self._database.transaction("write") as connection:
            _store_deliveries(connection, results)
            if limit < 1:
                return []
            due = _due(connection).order_by(_C.hook_due_at).limit(limit)
            numbers = connection.execute(due.with_for_update(skip_locked=True)).scalars().all()
            if not numbers:
                return []
            query = update(jobs).where(_C.number.in_(numbers))
            query = query.values(hook_due_at=unix_now(connection) + ttl_s, hook_attempts=_C.hook_attempts + 1)
            rows = connection.execute(query.returning(*_SHOWN)).all()
        return [HookCall(job=_record(row), attempts=row.hook_attempts) for row in rows]

    def prune(self, older_than_s: float, *, dry_run: bool) -> list[Removed]:
        """Remove jobs that ended longer ago than that."""
        with self._database.transaction("read" if dry_run else "write") as connection:
            # What has not been delivered stays until it is, or is given up.
            old = and_(
                _C.state.in_(ENDED), _C.ended_at < unix_now(connection) - older_than_s, _C.hook != "due"
            )
            size = func.coalesce(func.sum(func.coalesce(func.length(_C.answer), 0)), 0)
            # Counted first, because a DELETE does not say how many bytes it has freed.
            count, size_bytes = connection.execute(select(func.count(), size).where(old)).one()
            if count and not dry_run:
                connection.execute(delete(jobs).where(old))
        return [Removed("old jobs", f"{count} jobs", int(size_bytes))] if count else []

    def _has_free(self, targets: Sequence[str]) -> bool:
        # Without a lock: a server that has nothing to do asks some times a second, and writers do not wait.
        with self._database.transaction("read") as connection:
            return connection.execute(_free(connection, targets).limit(1)).first() is not None

    def _has_due(self) -> bool:
        with self._database.transaction("read") as connection:
            return connection.execute(_due(connection).limit(1)).first() is not None


def _with_keys(connection: Connection, submissions: Sequence[Submission]) -> dict[tuple[str, str], JobRecord]:
    """Return the jobs that are stored already, by their models and keys."""
    stored: dict[tuple[str, str], JobRecord] = {}
    for name in dict.fromkeys(submission.name for submission in submissions):
        keys = [job.key for job in submissions if job.name == name and job.key]
        # Most have none, and most of those with one come for the first time.
        if keys:
            query = select(_C.key, *_SHOWN).where(_C.name == name, _C.key.in_(keys))
            stored |= {(name, row.key): _record(row[1:]) for row in connection.execute(query)}
    return stored


def _with_room(
    connection: Connection, submissions: Iterable[Submission], most_waiting: int
) -> list[Submission]:
    """Return as many jobs of each model as it has room for; those of one key need one place."""
    room: dict[str, int] = {}
    accepted: dict[tuple[str, str], Submission] = {}
    for job in submissions:
        if job.name not in room:
            # Two servers that ask at the same moment may both find the last place: the limit is for the size
            # of the queue and not an exact one.
            waiting = select(func.count()).where(_C.name == job.name, _C.state == "waiting")
            room[job.name] = most_waiting - connection.execute(waiting).scalar_one()
        which = (job.name, f"key {job.key}" if job.key else f"id {job.id}")
        if which not in accepted and room[job.name] > 0:
            room[job.name] -= 1
            accepted[which] = job
    return list(accepted.values())


def _insert(connection: Connection, submissions: Sequence[Submission]) -> dict[str, JobRecord]:
    """Store jobs, but for those whose keys others have meanwhile; return those that are stored, by id."""
    if not submissions:
        return {}
    query = upsert(connection, jobs).values(created_at=unix_now(connection))
    query = query.on_conflict_do_nothing(index_elements=["name", "key"])
    connection.execute(query, [_new_values(submission) for submission in submissions])
    stored = select(*_SHOWN).where(_C.id.in_([submission.id for submission in submissions]))
    return {row.id: _record(row) for row in connection.execute(stored)}


def _lock_held(connection: Connection, reports: Sequence[Outcome | Requeued]) -> set[tuple[str, str]]:
    """Lock the jobs of reports whose claims still hold, and return their ids and tokens."""
    if not reports:
        return set()
    query = select(_C.id, _C.claim).where(_C.id.in_([job.id for job in reports]), _C.state == "running")
    # In one order everywhere: two transactions that lock the same rows do not wait for each other.
    rows = connection.execute(query.order_by(_C.id).with_for_update()).all()
    return {(row.id, row.claim) for row in rows}


def _finish(connection: Connection, outcomes: Sequence[Outcome]) -> None:
    if not outcomes:
        return
    now = unix_now(connection)
    # One statement for all, which is compiled once and run for each.
    query = update(jobs).where(_C.id == bindparam("ended")).values(ended_at=now, **_ended(now))
    values = [
        {
            "ended": outcome.id,
            "state": outcome.state,
            "reason": _text(outcome.reason),
            **_answer_values(outcome.answer),
        }
        for outcome in outcomes
    ]
    connection.execute(query, values)


def _requeue(connection: Connection, requeued: Sequence[Requeued]) -> None:
    now = unix_now(connection)
    for job in requeued:
        attempts = _C.attempts if job.counts else _C.attempts - 1
        values = {"due_at": now + job.after_s, "attempts": attempts, "reason": _text(job.reason)}
        connection.execute(update(jobs).where(_C.id == job.id).values(state="waiting", **values, **_FREE))


def _claim(connection: Connection, wanted: Wanted) -> list[Claim]:
    now = unix_now(connection)
    free = _free(connection, wanted.targets).order_by(_C.rank, _C.number).limit(wanted.limit)
    numbers = connection.execute(free.with_for_update(skip_locked=True)).scalars().all()
    if not numbers:
        return []
    query = update(jobs).where(_C.number.in_(numbers))
    query = query.values(
        state="running",
        claim=wanted.token,
        replica=wanted.replica,
        expires_at=now + wanted.ttl_s,
        started_at=now,
        attempts=_C.attempts + 1,
    )
    columns = (_C.id, _C.name, _C.path, _C.headers, _C.body, _C.attempts, _C.webhook, _C.rank, _C.number)
    rows = connection.execute(query.returning(*columns)).all()
    return [
        Claim(
            id=row.id,
            token=wanted.token,
            name=row.name,
            path=row.path,
            headers=msgspec.json.decode(row.headers, type=dict[str, str]),
            body=bytes(row.body),
            attempts=row.attempts,
            has_webhook=bool(row.webhook),
        )
        # A database returns changed rows in any order.
        for row in sorted(rows, key=lambda row: (row.rank, row.number))
    ]


def _store_deliveries(connection: Connection, results: Sequence[HookResult]) -> None:
    if not results:
        return
    # Of an attempt that took too long, another one is under way already: only its success still counts.
    is_latest = or_(bindparam("arrived", type_=Boolean), _C.hook_attempts == bindparam("attempt"))
    query = update(jobs).where(_C.id == bindparam("called"), _C.hook == "due", is_latest)
    pause = bindparam("pause_s", type_=Float)
    query = query.values(hook_due_at=unix_now(connection) + pause)
    values = [
        {
            "called": result.id,
            "attempt": result.attempts,
            "arrived": result.delivered,
            "pause_s": result.again_s or 0.0,
            "hook": _hook_state(result),
            "hook_text": _text(result.text),
        }
        # In one order everywhere, as in `_lock_held`.
        for result in sorted(results, key=lambda result: result.id)
    ]
    connection.execute(query, values)


def _hook_state(result: HookResult) -> str:
    if result.delivered:
        return "delivered"
    return "given_up" if result.again_s is None else "due"


def _free(connection: Connection, targets: Sequence[str]) -> Any:
    rules = (_C.state == "waiting", _C.target.in_(targets), _C.due_at <= unix_now(connection))
    return select(_C.number).where(*rules)


def _expired(connection: Connection, ttl_s: float) -> Any:
    now = unix_now(connection)
    # A claim that lasts longer than any server asks for was made before the clock was set back.
    ended = or_(_C.expires_at <= now, _C.expires_at > now + 2 * max(ttl_s, 3600.0))
    return select(_C.number).where(_C.state == "running", ended)


def _due(connection: Connection) -> Any:
    return select(_C.number).where(_C.hook == "due", _C.hook_due_at <= unix_now(connection))


def _text(text: str) -> str:
    """Return a sentence as every database keeps it: it may quote what a client or a receiver has sent."""
    # PostgreSQL has no NUL, and no driver a lone surrogate.
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _ended(now: Any) -> dict[str, Any]:
    """Return what changes with every end: no claim, no body, and a webhook that is due."""
    hook = case((_C.webhook != "", "due"), else_="")
    return {"body": b"", "hook": hook, "hook_due_at": now, **_FREE}


def _new_values(submission: Submission) -> dict[str, Any]:
    return {
        "id": submission.id,
        "key": submission.key or None,
        "name": submission.name,
        "target": submission.target,
        "fingerprint": submission.fingerprint,
        "rank": -submission.priority,
        "state": "waiting",
        "path": submission.path,
        "headers": json_text(submission.headers),
        "body": submission.body,
        **dict.fromkeys(("due_at", "started_at", "ended_at", "expires_at", "hook_due_at"), 0.0),
        **dict.fromkeys(("attempts", "status", "hook_attempts"), 0),
        **dict.fromkeys(("replica", "claim", "reason", "served", "answer_type", "hook", "hook_text"), ""),
        "answer_headers": "[]",
        "webhook": submission.webhook,
    }


def _answer_values(answer: Answer | None) -> dict[str, Any]:
    if answer is None:
        texts = dict.fromkeys(("answer_type", "served"), "")
        return {"status": 0, "answer_headers": "[]", "answer": None, **texts}
    return {
        "status": answer.status,
        "answer_type": answer.content_type,
        "answer_headers": json_text(answer.headers),
        "answer": answer.body,
        "served": json_text(answer.served) if answer.served is not None else "",
    }


def _one(connection: Connection, *rules: Any) -> JobRecord | None:
    row = connection.execute(select(*_SHOWN).where(*rules)).first()
    return _record(row) if row is not None else None


def _served(text: str) -> AnsweredBy | None:
    return msgspec.json.decode(text, type=AnsweredBy) if text else None


def _record(row: Any) -> JobRecord:
    values = dict(zip((column.name for column in _SHOWN), row, strict=True))
    values["priority"] = -values.pop("rank")
    values["served"] = _served(values["served"])
    return JobRecord(**values)
