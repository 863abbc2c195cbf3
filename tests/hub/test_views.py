"""What pages say, from what is known: pure functions, without a browser or a catalog."""

from __future__ import annotations

import pytest

from lading.errors import UsageError
from lading.hub.knowledge import Knowledge
from lading.hub.views.home import home
from lading.hub.views.models import models
from lading.hub.views.tables import PAGE_ROWS, TableState, page_of
from lading.registry.records import ModelVersion
from support.hub_rows import alarm, loaded, replica
from support.release_processes import new_version
from support.releases import canary, released

NOW = 1_796_040_000.0


def knowledge(*, newest=(), releases=(), replicas=(), alarms=()) -> Knowledge:
    return Knowledge(
        newest={version.name: version for version in newest},
        releases={release.name: release for release in releases},
        replicas=replicas,
        alarms=alarms,
        read_at=NOW,
    )


def version(name: str, number: int = 1, **changes) -> ModelVersion:
    new = new_version(name, number)
    values = {field: getattr(new, field) for field in new.__struct_fields__}
    return ModelVersion(**{**values, "version": number, **changes})


def test_what_is_wrong_comes_before_what_goes_on_by_itself():
    silent = replica(2, last_seen_at="2026-11-30T11:00:00Z", silent_s=900)
    failed = replica(1, loaded("churn", 3, state="failed", reason="golden samples differ"))
    page = home(knowledge(releases=[canary()], replicas=[silent, failed], alarms=[alarm()]))
    assert [(each.kind, each.model, each.subject) for each in page.concerns] == [
        ("alarm", "iris", "petal_width"),
        ("failed", "churn", "host-1"),
        ("silent", "", "host-2"),
        ("release", "iris", "canary"),
    ]
    assert (page.replicas, page.gone, page.live) == (1, 1, 1)


def test_a_version_that_fails_everywhere_is_one_concern():
    broken = loaded("churn", 3, state="failed", reason="out of memory")
    page = home(knowledge(replicas=[replica(number, broken) for number in (1, 2, 3)]))
    (concern,) = page.concerns
    assert (concern.version, concern.detail, concern.count) == (3, "out of memory", 3)


def test_a_replica_that_has_drained_is_no_concern_and_runs_nothing():
    drained = replica(1, loaded(), stopped_at="2026-11-30T11:00:00Z", last_seen_at="2026-11-30T11:00:00Z")
    page = home(knowledge(newest=[version("iris")], replicas=[drained]))
    assert (page.concerns, page.replicas, page.gone) == ([], 0, 0)
    (row,) = models(knowledge(newest=[version("iris")], replicas=[drained]), TableState()).rows
    assert row.replicas == 0


def test_a_model_that_only_a_foreign_server_runs_has_a_row():
    foreign = replica(1, loaded("legacy", 0, owner="team@example.com"), pattern="foreign")
    (row,) = models(knowledge(replicas=[foreign]), TableState()).rows
    assert (row.name, row.owner, row.newest, row.replicas) == ("legacy", "team@example.com", 0, 1)


def test_a_row_has_both_sides_of_a_release():
    (row,) = models(knowledge(newest=[version("iris", 2)], releases=[canary()]), TableState()).rows
    assert (row.newest, row.live, row.candidate, row.mode, row.percent) == (2, 1, 2, "canary", 5.0)
    (row,) = models(knowledge(newest=[version("iris", 2)], releases=[released(1)]), TableState()).rows
    assert (row.live, row.candidate, row.state) == (1, 0, "live")


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
