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
_NO_FILTERS: Mapping[str, Sequence[str]] = {}


class TableState(msgspec.Struct, frozen=True):
    """What a table shows. ``sort`` is the name of a column, with ``-`` in front from the highest down.

    ``filters`` has the values that rows are limited to, by the name of the filter.
    """

    q: str = ""
    sort: str = ""
    page: int = 1
    filters: Mapping[str, str] = {}

    @classmethod
    def of(
        cls,
        query: Mapping[str, str],
        columns: Sequence[str],
        filters: Mapping[str, Sequence[str]] = _NO_FILTERS,
    ) -> TableState:
        """Return the state in the parameters of an address; `filters` has the values of each by its name.

        Raises `UsageError` for a column or value that the table does not have, and for no number of a page.
        """
        sort, page = query.get("sort", ""), query.get("page", "1")
        # Refused and not ignored: a link that is cut off would show other rows than its author saw.
        if sort:
            one_of("`sort`", sort.removeprefix("-"), columns)
        chosen = {name: query[name] for name in filters if query.get(name)}
        for name, value in chosen.items():
            one_of(f"`{name}`", value, filters[name])
        if not (page.isascii() and page.isdigit() and len(page) < 8 and int(page) > 0):
            raise UsageError("`page`", expected="a number from 1 on", found=f"`{page[:_LONGEST_TEXT]}`")
        return cls(query.get("q", "")[:_LONGEST_TEXT], sort, int(page), chosen)

    def link(self, **changes: Any) -> str:
        """Return the query of the same table with changes; from its first page if they change its rows."""
        state = msgspec.structs.replace(self, **{"page": 1, **changes})
        page = state.page if state.page > 1 else ""
        values = {"q": state.q, **state.filters, "sort": state.sort, "page": page}
        query = urlencode({name: value for name, value in values.items() if value})
        return f"?{query}" if query else "?"

    def with_filter(self, name: str, value: str) -> str:
        """Return the query that limits the table to rows with a value; an empty one limits nothing."""
        return self.link(filters={**self.filters, name: value})

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
    rules: Mapping[str, Callable[[Row], str]] | None = None,
    rows_a_page: int = PAGE_ROWS,
) -> Page[Row]:
    """Return a page of `rows`: of those one of whose `texts` has what is looked for, sorted by `keys`.

    `rules` has, by the name of a filter, the value of a row that it compares.
    """
    # Every word in some text of the row, in any order: people type what they remember.
    words = state.q.casefold().split()
    chosen = [
        row for row in rows if all(any(word in text.casefold() for text in texts(row)) for word in words)
    ]
    for name, value in state.filters.items():
        chosen = [row for row in chosen if (rules or {})[name](row) == value]
    sort = state.sort or default
    chosen.sort(key=keys[sort.removeprefix("-")], reverse=sort.startswith("-"))
    start = (state.page - 1) * rows_a_page
    return Page(
        rows=chosen[start : start + rows_a_page],
        state=state,
        total=len(chosen),
        of=len(rows),
        pages=max(1, math.ceil(len(chosen) / rows_a_page)),
    )


def one_of(where: str, value: str, choices: Sequence[str]) -> str:
    """Return `value`, a parameter of an address. Raises `UsageError` if it is none of `choices`."""
    if value not in choices:
        expected = ", ".join(f"`{choice}`" for choice in choices)
        raise UsageError(where, expected=f"one of {expected}", found=f"`{value[:_LONGEST_TEXT]}`")
    return value
