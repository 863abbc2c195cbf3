"""The history: what happened to releases, of all models or of one, and the same for a spreadsheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args
from urllib.parse import urlencode

import msgspec

from lading.errors import UsageError
from lading.hub.spreadsheet import csv_text
from lading.hub.views.tables import one_of
from lading.monitor.report.markup import shortened
from lading.ref import check_name
from lading.registry.records import EventPage
from lading.release import Event, EventKind

EVENTS_A_PAGE = 50
KINDS_OF_EVENTS: Sequence[str] = get_args(EventKind)
CSV_COLUMNS = (
    "seq", "at", "name", "release", "actor", "kind", "from", "to", "reason", "digest", "fingerprint",
    "evidence", "previous", "hash",
)  # fmt: skip
_LONGEST_TEXT = 200
_MOST_LINES = 120
_LONGEST_LINE = 300


class HistoryState(msgspec.Struct, frozen=True, kw_only=True):
    """Which events: of a model, a kind and an actor, each empty for any, and those below a position."""

    model: str = ""
    kind: str = ""
    actor: str = ""
    below: int | None = None

    @classmethod
    def of(cls, query: Mapping[str, str]) -> HistoryState:
        """Return the state in the parameters of an address. Raises `InvalidName` and `UsageError`."""
        model, kind = query.get("model", "").strip(), query.get("kind", "")
        # A name that no model can have is a slip of the keyboard, and an empty table would hide it.
        if model:
            check_name(model)
        if kind:
            one_of("`kind`", kind, KINDS_OF_EVENTS)
        actor = query.get("actor", "").strip()
        # PostgreSQL takes none in a text, and so nobody's name has one.
        if "\0" in actor:
            raise UsageError("`actor`", expected="a name", found=f"`{actor[:_LONGEST_TEXT]}`")
        return cls(model=model, kind=kind, actor=actor, below=_below(query))

    @property
    def is_limited(self) -> bool:
        """Return whether not all events are wanted."""
        return bool(self.model or self.kind or self.actor)

    def link(self, **changes: Any) -> str:
        """Return the query of the same events with changes, from the newest on unless `below` is one."""
        state = msgspec.structs.replace(self, **{"below": None, **changes})
        values = {"model": state.model, "kind": state.kind, "actor": state.actor, "below": state.below or ""}
        query = urlencode({name: value for name, value in values.items() if value})
        return f"?{query}" if query else "?"


class ChainCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the history of a model is whole: ``broken`` is what is wrong, or empty, ``hint`` what to do.

    ``events`` is how many were read; ``forgeable`` who could have written a whole chain that verifies.
    """

    events: int
    forgeable: str
    broken: str = ""
    hint: str = ""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Events, newest first. ``name`` is the model of the page, empty for all; ``check`` is only of one model.

    ``older`` is the position below which more may be, or 0.
    """

    name: str
    state: HistoryState
    events: list[Event]
    older: int
    check: ChainCheck | None

    @staticmethod
    def lines(event: Event) -> list[str]:
        """Return the evidence of an event as lines for people, without what would make a page too long."""
        # Line by line, because pages show a line break within a text as an escape sequence.
        text = msgspec.json.format(msgspec.json.encode(event.evidence)).decode()
        lines = [shortened(line, _LONGEST_LINE) for line in text.splitlines()]
        return [*lines[:_MOST_LINES], "…"] if len(lines) > _MOST_LINES else lines


def history_page(name: str, state: HistoryState, page: EventPage, check: ChainCheck | None) -> History:
    """Return the page of some events; `check` is of the model `name`."""
    return History(name=name, state=state, events=page.events, older=page.older, check=check)


def events_csv(events: Sequence[Event]) -> str:
    """Return events as CSV, in their order. No cell is a formula: an apostrophe keeps it text."""
    rows = []
    for event in events:
        # Numbers and digests never begin as a formula does; whatever a person wrote may.
        fields = {
            **msgspec.structs.asdict(event),
            "release": event.number,
            "from": event.from_,
            "evidence": msgspec.json.encode(event.evidence, order="sorted").decode(),
        }
        rows.append([str(fields[column]) for column in CSV_COLUMNS])
    return csv_text(CSV_COLUMNS, rows)


def _below(query: Mapping[str, str]) -> int | None:
    text = query.get("below", "")
    if not text:
        return None
    # Nine digits fit the columns of every database.
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise UsageError("`below`", expected="a number from 1 on", found=f"`{text[:_LONGEST_TEXT]}`")
    return int(text)
