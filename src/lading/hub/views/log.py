"""The prediction log: records by what is known of them, newest first, and the same as a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec

from lading.clock import iso_time, unix_time
from lading.errors import UsageError
from lading.hub.spreadsheet import Cell
from lading.hub.views.tables import one_of

SPANS = ("1h", "1d", "7d", "30d", "all")
OUTCOMES = ("ok", "error", "warned")
OPERATORS = ("eq", "ne", "lt", "gt", "has", "missing")
SIDES = ("live", "candidate", "shadow")
LABELLED = ("yes", "no")

_LONGEST_TEXT = 500
_SPAN = re.compile(r"(\d{1,6})(m|h|d|w)", re.ASCII)
_UNITS_S = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
# In the year 2096: beyond some later moment, `datetime` has no value.
_LAST_US = 4_000_000_000_000_000

Empty = Literal["", "extra", "log", "model"]


class LogState(msgspec.Struct, frozen=True, kw_only=True):
    """Which records; what is empty is any, and ``since`` a day. All as it is in the address.

    ``since`` and ``until`` are spans before now or ISO times; ``before`` is the place of the last record of
    the page before.
    """

    since: str = "1d"
    until: str = ""
    version: str = ""
    side: str = ""
    replica: str = ""
    id: str = ""
    outcome: str = ""
    status: str = ""
    column: str = ""
    op: str = "eq"
    value: str = ""
    label: str = ""
    before: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> LogState:
        """Return the state in the parameters of an address. Raises `UsageError`."""
        stated = {name: query[name] for name in cls.__struct_fields__ if query.get(name)}
        for name, text in stated.items():
            if len(text) > _LONGEST_TEXT:
                raise UsageError(f"`{name}`", expected=f"at most {_LONGEST_TEXT} characters", found="more")
        # Blanks come with what is copied into the form; a value may begin with one.
        state = cls(**{name: text if name == "value" else text.strip() for name, text in stated.items()})
        for name, value, allowed in (
            ("side", state.side, SIDES),
            ("outcome", state.outcome, OUTCOMES),
            ("op", state.op, OPERATORS),
            ("label", state.label, LABELLED),
        ):
            if value:
                one_of(f"`{name}`", value, allowed)
        if state.column and not state.column.startswith(("inputs.", "outputs.")):
            hint = "such as `inputs.petal_width` or `outputs.label`"
            raise UsageError("`column`", expected="an input or output", found=f"`{state.column}`", hint=hint)
        return state

    @property
    def is_limited(self) -> bool:
        """Return whether not all records of the period are wanted."""
        return any(
            getattr(self, name) for name in self.__struct_fields__ if name not in ("since", "op", "before")
        )

    def link(self, **changes: str) -> str:
        """Return the query of the same records with changes, from the newest on."""
        values = {**msgspec.structs.asdict(self), "before": "", **changes}
        defaults = {"since": "1d", "op": "eq"}
        query = {name: text for name, text in values.items() if text and text != defaults.get(name)}
        return f"?{urlencode(query)}" if query else "?"

    def parameters(self, now: float) -> dict[str, Any]:
        """Return what the log is asked for, as the fields of a `Sought`. Raises `UsageError`."""
        version = self.version
        if version and not (version.isascii() and version.isdigit() and len(version) < 10):
            raise UsageError("`version`", expected="a number", found=f"`{version}`")
        return {
            "since": None if self.since == "all" else _moment("since", self.since, now),
            "until": _moment("until", self.until, now) if self.until else None,
            "version": int(version) if version else None,
            "side": self.side,
            "replica": self.replica,
            "request": self.id,
            "outcome": self.outcome,
            "status": self.status,
            "column": self.column,
            "operator": self.op,
            "value": self.value,
            "labelled": self.label,
        }

    def place(self) -> tuple[int, str, int, str] | None:
        """Return the place of the last record of the page before. Raises `UsageError`."""
        if not self.before:
            return None
        at, _, rest = self.before.partition("~")
        # An id may have any character, so the others come first.
        row, _, rest = rest.partition("~")
        side, _, id = rest.partition("~")
        digits = all(text.isascii() and text.isdigit() and len(text) < 17 for text in (at, row))
        if not digits or int(at) > _LAST_US or int(row) > 2**31:
            raise UsageError("`before`", expected="the place of a record", found=f"`{self.before[:80]}`")
        return int(at), id, int(row), side


class LogPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of records. ``empty`` is why there is no log, and then nothing else is known of it.

    ``result`` is what was found; ``older`` the place behind which more may be, empty for none.
    ``models`` are those that the log has records of.
    """

    model: str
    where: str
    state: LogState
    empty: Empty = ""
    models: list[str] = []
    result: Any = None
    older: str = ""
    searched_from: str = ""


class LogIndex(msgspec.Struct, frozen=True, kw_only=True):
    """The models that the log has records of."""

    where: str
    empty: Empty
    models: list[str]


def log_page(model: str, where: str, state: LogState, result: Any) -> LogPage:
    """Return the page of what a search has found."""
    older = result.older
    return LogPage(
        model=model,
        where=where,
        state=state,
        result=result,
        older=f"{older.time_us}~{older.row}~{older.side}~{older.id}" if older is not None else "",
        searched_from=iso_time(result.searched_from) if result.searched_from is not None else "",
    )


_OWN = (
    "id", "row", "time", "version", "digest", "release", "side", "replica", "status", "error", "latency_s",
    "warnings", "label", "labelled_at",
)  # fmt: skip


def records_table(result: Any) -> tuple[list[str], list[list[Cell]]]:
    """Return records as a table: what is known of each, then a column for each input and output."""
    columns: dict[tuple[str, str], None] = {}
    for record in result.records:
        columns |= {("inputs", name): None for name in record.inputs}
        columns |= {("outputs", name): None for name in record.outputs}
    ordered = sorted(columns, key=lambda column: column[0])
    rows: list[list[Cell]] = []
    for record in result.records:
        fields = msgspec.structs.asdict(record)
        fields["warnings"] = "; ".join(record.warnings)
        for name in ("time", "labelled_at"):
            fields[name] = "" if fields[name] is None else iso_time(fields[name], "milliseconds")
        rows.append([*(fields[name] for name in _OWN), *(fields[group].get(name) for group, name in ordered)])
    return [*_OWN, *(f"{group}.{name}" for group, name in ordered)], rows


def _moment(name: str, text: str, now: float) -> float:
    span = _SPAN.fullmatch(text)
    if span is not None:
        return now - int(span[1]) * _UNITS_S[span[2]]
    try:
        # An ISO time without a zone is in UTC, as everything that lading writes.
        at = unix_time(text if re.search(r"(Z|[+-]\d\d:?\d\d)$", text) else f"{text}+00:00")
    except (ValueError, OverflowError):
        hint = "a span before now such as `2h` or `7d`, or a time such as `2026-11-30T14:00`"
        raise UsageError(f"`{name}`", expected="a time", found=f"`{text[:80]}`", hint=hint) from None
    return at
