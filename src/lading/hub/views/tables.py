"""Tables whose state is in the address: what is looked for, by what it is sorted, and which page is open."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import msgspec

from lading.errors import UsageError

Row = TypeVar("Row")

PAGE_ROWS = 50
_LONGEST_TEXT = 200


class TableState(msgspec.Struct, frozen=True):
    """What a table shows. ``sort`` is the name of a column, with ``-`` in front from the highest down."""

    q: str = ""
    sort: str = ""
    page: int = 1

    @classmethod
    def of(cls, query: Mapping[str, str], columns: Sequence[str]) -> TableState:
        """Return the state in the parameters of an address.

        Raises `UsageError` for a column that the table does not have, and for no number of a page.
        """
        sort, page = query.get("sort", ""), query.get("page", "1")
        # Refused and not ignored: a link that is cut off would show other rows than its author saw.
        if sort.removeprefix("-") not in ("", *columns):
            expected = ", ".join(f"`{name}`" for name in columns)
            raise UsageError("`sort`", expected=f"one of {expected}", found=f"`{sort[:_LONGEST_TEXT]}`")
        if not (page.isascii() and page.isdigit() and len(page) < 8 and int(page) > 0):
            raise UsageError("`page`", expected="a number from 1 on", found=f"`{page[:_LONGEST_TEXT]}`")
        return cls(query.get("q", "")[:_LONGEST_TEXT], sort, int(page))

    def link(self, **changes: Any) -> str:
        """Return the query of the same table with changes; from its first page if they change its rows."""
        state = msgspec.structs.replace(self, **{"page": 1, **changes})
        values = {"q": state.q, "sort": state.sort, "page": state.page if state.page > 1 else ""}
        query = urlencode({name: value for name, value in values.items() if value})
        return f"?{query}" if query else "?"

    def sorted_by(self, column: str) -> str:
        """Return the query that sorts by a column; if it is sorted by it already, the other way round."""
        return self.link(sort=f"-{column}" if self.sort == column else column)


class Page(msgspec.Struct, Generic[Row], frozen=True, kw_only=True):
    """The rows of one page of a table. ``total`` counts those of all pages, ``of`` those of no filter."""

    rows: list[Row]
    state: TableState
    total: int
    of: int
    pages: int


def page_of(
    rows: Sequence[Row],
    state: TableState,
    *,
    texts: Callable[[Row], Sequence[str]],
    keys: Mapping[str, Callable[[Row], Any]],
    default: str,
) -> Page[Row]:
    """Return a page of `rows`: of those one of whose `texts` has what is looked for, sorted by `keys`."""
    # Every word in some text of the row, in any order: people type what they remember.
    words = state.q.casefold().split()
    chosen = [
        row for row in rows if all(any(word in text.casefold() for text in texts(row)) for word in words)
    ]
    sort = state.sort or default
    chosen.sort(key=keys[sort.removeprefix("-")], reverse=sort.startswith("-"))
    start = (state.page - 1) * PAGE_ROWS
    return Page(
        rows=chosen[start : start + PAGE_ROWS],
        state=state,
        total=len(chosen),
        of=len(rows),
        pages=max(1, math.ceil(len(chosen) / PAGE_ROWS)),
    )
