"""Runs over data sets: the table of them, and one with its report. Reads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args
from urllib.parse import urlencode

import msgspec

from lading.errors import UsageError
from lading.hub.spreadsheet import Cell
from lading.hub.views.tables import Page, TableState, page_of
from lading.ref import check_name
from lading.registry.catalog.runs import RunQuery
from lading.runs import BatchFacts, ColumnDrift, Run, RunKind, RunState

KINDS: tuple[str, ...] = get_args(RunKind)
STATES: tuple[str, ...] = get_args(RunState)
COLUMNS = ("began", "model", "state", "rows", "rejected", "rate", "drifted")
RUNS_READ = 500
"""So many runs are sorted and divided into pages; older ones come behind them."""

RUNS_OF_MODEL = 5
TABLES = ("drift", "inputs", "reasons", "checks")
_FILTERS = {"kind": KINDS, "state": STATES}
_LONGEST_ID = 63
_NO_FACTS = BatchFacts(engine="", output="", plan="", files=0, parts=0)


class RunsState(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs are shown: those of a model, a kind and a state, each empty for any, and in which order.

    ``before`` is the place of a run, when it began and its id: only those behind it are read.
    """

    model: str
    before: str
    table: TableState

    @classmethod
    def of(cls, query: Mapping[str, str]) -> RunsState:
        """Return the state in the parameters of an address. Raises `InvalidName` and `UsageError`."""
        model, before = query.get("model", "").strip(), query.get("before", "")
        if model:
            check_name(model)
        _place(before)
        table = TableState.of({**query, "q": ""}, COLUMNS, _FILTERS)
        # As filters of the table they are in all of its links.
        more = {name: value for name, value in (("model", model), ("before", before)) if value}
        return cls(
            model=model,
            before=before,
            table=msgspec.structs.replace(table, filters={**table.filters, **more}),
        )

    def link(self, **changes: str) -> str:
        """Return the query of the same table with changes, such as `before`; from its first page."""
        values = {**self.table.filters, "sort": self.table.sort, **changes}
        return f"?{urlencode({name: value for name, value in values.items() if value})}"

    def asked(self) -> RunQuery:
        """Return what the catalog is asked for."""
        kinds: dict[str, RunKind] = dict(zip(KINDS, get_args(RunKind), strict=True))
        states: dict[str, RunState] = dict(zip(STATES, get_args(RunState), strict=True))
        return RunQuery(
            name=self.model or None,
            kind=kinds.get(self.table.filters.get("kind", "")),
            state=states.get(self.table.filters.get("state", "")),
            before=_place(self.before),
        )


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """A run in the table. ``judged`` of its columns were compared, and ``drifted`` of them have drifted.

    Times are Unix times; ``ended_at`` is 0 while it lasts. ``share`` is how much of it is done, from 0 to 1.
    """

    id: str
    kind: str
    name: str
    version: int
    title: str
    state: str
    text: str
    actor: str
    began_at: float
    heard_at: float
    ended_at: float
    share: float
    rows: int
    rejected: int
    rows_per_s: float
    judged: int
    drifted: int


class RunsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Runs, last begun first unless sorted otherwise. ``older`` is the place behind which more are, or empty.

    ``is_empty`` says that no run was ever recorded, as far as nothing was filtered.
    """

    state: RunsState
    table: Page[RunRow]
    older: str
    is_empty: bool
    kinds: tuple[str, ...] = KINDS
    states: tuple[str, ...] = STATES


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """One run. ``left_s`` is how long it will take at its present pace, None if that is not known.

    ``drift`` has columns that have drifted first, and is None while nothing was judged.
    """

    row: RunRow
    run: Run
    lasted_s: float
    left_s: float | None
    drift: list[ColumnDrift] | None


def runs_page(state: RunsState, runs: Sequence[Run]) -> RunsPage:
    """Return the page of some runs, with one more than it sorts if more are behind them."""
    read = runs[:RUNS_READ]
    older = f"{read[-1].began_at!r}~{read[-1].id}" if len(runs) > len(read) else ""
    table = page_of(
        [run_row(run) for run in read],
        state.table,
        texts=lambda row: (row.title,),
        keys={
            "began": lambda row: (row.began_at, row.id),
            "model": lambda row: (row.title, row.began_at),
            "state": lambda row: (STATES.index(row.state), row.began_at),
            "rows": lambda row: (row.rows, row.began_at),
            "rejected": lambda row: (row.rejected, row.began_at),
            "rate": lambda row: (row.rows_per_s, row.began_at),
            "drifted": lambda row: (row.drifted, row.began_at),
        },
        default="-began",
        # The catalog has filtered: each row has what was asked for.
        rules={name: _always(value) for name, value in state.table.filters.items()},
    )
    return RunsPage(state=state, table=table, older=older, is_empty=not runs and not state.table.filters)


def _always(value: str) -> Any:
    return lambda _row: value


def run_row(run: Run) -> RunRow:
    """Return what the table says of a run."""
    # A kind that this lading does not know has no facts, and a row all the same.
    facts = run.batch or _NO_FACTS
    return RunRow(
        id=run.id,
        kind=run.kind,
        name=run.name,
        version=run.version,
        title=run.title,
        state=run.state,
        text=run.text,
        actor=run.actor,
        began_at=run.began_at,
        heard_at=run.heard_at,
        ended_at=run.ended_at,
        share=facts.parts_done / facts.parts if facts.parts else 0.0,
        rows=facts.rows,
        rejected=facts.rejected,
        rows_per_s=facts.rows_per_s,
        judged=len(facts.drift or ()),
        drifted=sum(column.drifted for column in facts.drift or ()),
    )


def run_page(run: Run) -> RunPage:
    """Return the page of a run."""
    facts = run.batch or _NO_FACTS
    drift = None
    if facts.drift is not None:
        drift = sorted(facts.drift, key=lambda column: (not column.drifted, -column.psi, column.column))
    return RunPage(
        row=run_row(run),
        run=run,
        # How long one that is lost went on after its last report is not known.
        lasted_s=max(0.0, (run.ended_at or run.heard_at) - run.began_at),
        left_s=_left_s(facts) if run.state == "running" else None,
        drift=drift,
    )


def _left_s(facts: BatchFacts) -> float | None:
    """Return how long the parts that are left take, if they have as many rows as those that are done."""
    if not facts.parts_done or not facts.rows_per_s:
        return None
    return (facts.parts - facts.parts_done) * facts.rows / facts.parts_done / facts.rows_per_s


def runs_table(page: RunsPage) -> tuple[Sequence[str], list[Sequence[Cell]]]:
    """Return the header and rows of the runs of a page as a table."""
    header = RunRow.__struct_fields__
    return header, [[getattr(row, name) for name in header] for row in page.table.rows]


def report_table(page: RunPage, name: str) -> tuple[Sequence[str], list[Sequence[Cell]]]:
    """Return the header and rows of one of the tables of a run, one of `TABLES`."""
    facts = page.run.batch or _NO_FACTS
    if name == "inputs":
        header = ("name", "sha256", "size_bytes", "rows", "scored", "rejected")
        return header, [[getattr(each, field) for field in header] for each in facts.inputs]
    if name in ("reasons", "checks"):
        counts = facts.reasons if name == "reasons" else facts.failed
        return (name.removesuffix("s"), "rows"), [list(each) for each in counts]
    # What was not judged has no rows: an empty table says that nothing is known.
    columns = page.drift or ()
    return ("column", "psi", "at_random", "drifted"), [
        (each.column, each.psi, each.at_random, int(each.drifted)) for each in columns
    ]


def is_run_id(text: str) -> bool:
    """Return whether a text can be the id of a run in every database: PostgreSQL takes no zero character."""
    return 0 < len(text) <= _LONGEST_ID and "\0" not in text


def _place(text: str) -> tuple[float, str] | None:
    if not text:
        return None
    at, _, id = text.partition("~")
    try:
        began_at = float(at)
    except ValueError:
        began_at = -1.0
    # What is no number, such as nan, comes before and after nothing.
    if not 0 <= began_at < 1e12 or not is_run_id(id):
        raise UsageError("`before`", expected="the place of a run", found=f"`{text[:80]}`")
    return began_at, id
