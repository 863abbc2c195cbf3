"""Releases and their events in SQL: a release's row, its event and its tags change in one transaction.

Decides nothing: what a release becomes is decided by the caller's function over the current row, which nobody
else can change meanwhile. Events are only ever added.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from lading.errors import HistoryBroken
from lading.ref import Ref
from lading.registry.catalog.releases import SEARCHED_EVENTS, Decide
from lading.registry.catalog.sql.database import Database
from lading.registry.catalog.sql.statements import json_text
from lading.registry.catalog.sql.tables import events, models, releases
from lading.registry.catalog.sql.version_rows import find, lock_model, move_tag
from lading.registry.records import EventPage
from lading.release import Event, EventDraft, Plan, Release, link
from lading.release.seals import Keyring, key_of, may_follow


class SqlReleases:
    """A `ReleaseCatalog` over a database."""

    def __init__(self, database: Database, keyring: Keyring | None = None) -> None:
        self._database = database
        self.keyring = keyring

    def write(self, name: str, decide: Decide, at: str) -> Release | None:
        """Write what `decide` returns for the current release; the last one is current from then on."""
        with self._database.transaction("write") as connection:
            number = lock_model(connection, name)
            if number is None:
                return None
            current = None
            # At most two: the end of an open release, and the one that takes its place.
            for current, draft in decide(_current(connection, name, number)):
                _put(connection, current)
                if self._append(connection, current, draft, at) is None:
                    connection.rollback()
                    return None
            if current is None:
                return None
            query = update(models).where(models.c.name == name)
            connection.execute(query.values(last_release=current.number))
            for tag, version in (("live", current.live), ("candidate", current.candidate)):
                # The event is about one of the two; the other need not exist either.
                if version is not None and find(connection, Ref(name, version=version)) is None:
                    connection.rollback()
                    return None
                move_tag(connection, name, tag, version)
            return current

    def append_event(self, release: Release, draft: EventDraft, at: str) -> Event | None:
        """Add an event that changes no release and return it, or None if its version does not exist."""
        with self._database.transaction("write") as connection:
            # The lock keeps the numbers and hashes of the model's events one chain.
            if lock_model(connection, release.name) is None:
                return None
            return self._append(connection, release, draft, at)

    def current(self, name: str | None) -> list[Release]:
        """Return the current release of one model, or of every model by name, that has one."""
        query = select(releases).join(models, models.c.name == releases.c.name)
        query = query.where(releases.c.number == models.c.last_release).order_by(releases.c.name)
        if name is not None:
            query = query.where(releases.c.name == name)
        with self._database.transaction("read") as connection:
            return [_release(row) for row in connection.execute(query).mappings()]

    def of(self, name: str) -> list[Release]:
        """Return the releases of a model, newest first."""
        query = select(releases).where(releases.c.name == name).order_by(releases.c.number.desc())
        with self._database.transaction("read") as connection:
            return [_release(row) for row in connection.execute(query).mappings()]

    def last_events(self, name: str, limit: int) -> list[Event]:
        """Return at most `limit` events of a model, newest first."""
        query = select(events).where(events.c.name == name).order_by(events.c.seq.desc()).limit(limit)
        with self._database.transaction("read") as connection:
            return [_event(row) for row in connection.execute(query).mappings()]

    def event_page(
        self, name: str | None, *, kind: str, actor: str, below: int | None, limit: int
    ) -> EventPage:
        """Return at most `limit` events, newest first, of a model, a kind and an actor if they are named."""
        # Each has an index in which a page is one range, however many events are above it.
        position = events.c.id if name is None else events.c.seq
        rules = [] if name is None else [events.c.name == name]
        searched = [events.c.kind == kind] * bool(kind) + [events.c.actor == actor] * bool(actor)
        with self._database.transaction("read") as connection:
            if below is None:
                newest = connection.execute(select(func.max(position)).where(*rules)).scalar()
                below = (newest or 0) + 1
            # Numbers that a database has left out only make the range smaller.
            lowest = max(1, below - SEARCHED_EVENTS) if searched else 1
            query = select(events, position.label("position"))
            query = query.where(*rules, position < below, position >= lowest, *searched)
            query = query.order_by(position.desc()).limit(limit + 1)
            rows = connection.execute(query).mappings().all()
        older = rows[limit - 1]["position"] if len(rows) > limit else lowest if lowest > 1 else 0
        return EventPage([_event(row) for row in rows[:limit]], older)

    def events(self, name: str | None) -> list[Event]:
        """Return the events of a model or of all, in the order in which they were added."""
        query = select(events).order_by(events.c.id)
        if name is not None:
            query = query.where(events.c.name == name)
        with self._database.transaction("read") as connection:
            return [_event(row) for row in connection.execute(query).mappings()]

    def _append(self, connection: Connection, release: Release, draft: EventDraft, at: str) -> Event | None:
        """Add an event at the end of the model's chain; return it, or None if its version does not exist."""
        # A first release that is refused leaves no version that its event could be about.
        number = draft.version or release.candidate or release.live
        version = find(connection, Ref(release.name, version=number)) if number is not None else None
        if number is not None and version is None:
            return None
        query = select(events).where(events.c.name == release.name).order_by(events.c.seq.desc()).limit(1)
        row = connection.execute(query).mappings().first()
        last = None if row is None else _event(row)
        digest = version.digest if version is not None else ""
        if self.keyring is None:
            event = link(last, release, draft, at=at, digest=digest)
        else:
            if draft.kind != "sealed":
                self._check_may_follow(connection, release.name, last)
            event = link(last, release, draft, at=at, digest=digest, seal=self.keyring.seal)
        fields = {**msgspec.structs.asdict(event), "evidence": json_text(event.evidence)}
        connection.execute(insert(events).values(**fields))
        return event

    def _check_may_follow(self, connection: Connection, name: str, last: Event | None) -> None:
        """Raise `HistoryBroken` if a seal here would cover what somebody without the key has written."""
        assert self.keyring is not None
        if last is None or (key_of(last) is not None and self.keyring.fault(last) is None):
            return
        query = select(events).where(events.c.name == name).order_by(events.c.id)
        fault = may_follow([_event(row) for row in connection.execute(query).mappings()], self.keyring)
        if fault is not None:
            raise HistoryBroken(
                f"history of `{name}`: {fault}",
                hint=f"`lading history {name} --check` shows it; `--seal` seals it if it is right",
            )


def _current(connection: Connection, name: str, number: int) -> Release | None:
    query = select(releases).where(releases.c.name == name, releases.c.number == number)
    row = connection.execute(query).mappings().first()
    return None if row is None else _release(row)


def _put(connection: Connection, release: Release) -> None:
    key = (releases.c.name == release.name, releases.c.number == release.number)
    connection.execute(delete(releases).where(*key))
    fields = {**msgspec.structs.asdict(release), "plan": json_text(release.plan)}
    connection.execute(insert(releases).values(**fields))


def _release(row: RowMapping) -> Release:
    return Release(**{**row, "plan": msgspec.json.decode(row["plan"], type=Plan)})


def _event(row: RowMapping) -> Event:
    fields = {key: row[key] for key in Event.__struct_fields__}
    return Event(**{**fields, "evidence": msgspec.json.decode(row["evidence"])})
