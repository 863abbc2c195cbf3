"""Tables: their words, order and pages, all of which are in the address."""

from __future__ import annotations

import pytest

from lading.errors import UsageError
from lading.hub.views.tables import PAGE_ROWS, TableState, page_of


def test_a_table_is_filtered_by_every_word_and_sorted_either_way():
    rows = [("iris", 3), ("iris-europe", 1), ("churn-europe", 2)]

    def page(q: str = "", sort: str = ""):
        state = TableState(q, sort)
        keys = {"name": lambda row: row[0], "size": lambda row: row[1]}
        return page_of(rows, state, texts=lambda row: [row[0]], keys=keys, default="name")

    assert [row[0] for row in page().rows] == ["churn-europe", "iris", "iris-europe"]
    assert [row[0] for row in page("EUROPE ir").rows] == ["iris-europe"]
    assert [row[1] for row in page(sort="-size").rows] == [3, 2, 1]
    assert (page("europe").total, page("europe").of) == (2, 3)


def test_a_table_of_many_rows_has_pages():
    rows = list(range(2 * PAGE_ROWS + 1))

    def page(number: int):
        keys = {"n": lambda row: row}
        return page_of(rows, TableState(page=number), texts=lambda _row: (), keys=keys, default="n")

    assert page(1).pages == 3
    assert page(3).rows == [2 * PAGE_ROWS]
    assert page(4).rows == []


def test_the_address_is_the_state_of_a_table():
    state = TableState.of({"q": "iris & co", "sort": "-pushed", "page": "3"}, ("name", "pushed"))
    assert state == TableState("iris & co", "-pushed", 3)
    assert state.link(page=4) == "?q=iris+%26+co&sort=-pushed&page=4"
    assert state.link(q="") == "?sort=-pushed"
    assert state.sorted_by("pushed") == "?q=iris+%26+co&sort=pushed"
    assert state.sorted_by("name") == "?q=iris+%26+co&sort=name"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"sort": "size"}, "`sort`: expected one of `name`, `pushed`, found `size`"),
        ({"page": "0"}, "`page`: expected a number from 1 on, found `0`"),
        ({"page": "٣"}, "`page`: expected a number from 1 on, found `٣`"),
        ({"page": "9" * 5000}, "`page`: expected a number from 1 on"),
    ],
)
def test_an_address_that_is_no_state_is_refused(query, sentence):
    with pytest.raises(UsageError) as refused:
        TableState.of(query, ("name", "pushed"))
    assert refused.value.message.startswith(sentence)
