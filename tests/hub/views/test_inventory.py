"""The inventory: every replica with what it runs, found by any of it, and one of them whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import msgspec
import pytest

from lading.errors import ReplicaNotFound, UsageError
from lading.hub.knowledge import Knowledge
from lading.hub.views.inventory import COLUMNS, FILTERS, inventory, replica_page
from lading.hub.views.tables import TableState
from lading.registry import Registry
from lading.replica import GONE_AFTER_S, STALE_S, Replica, ReplicaModel
from support.hub_pages import HubPages, parsed, text_of

DIGEST = "sha256:" + "ab" * 32
READY = ReplicaModel(name="iris", version=1, digest=DIGEST, state="ready", owner="ml@example.com")
FAILED = ReplicaModel(name="iris", version=2, state="failed", reason="golden samples: row 3 differs <b>")
WEB = Replica(
    id="web-9",
    host="rack-2",
    address="http://10.0.0.9:8000",
    os="Debian 12",
    cpus=4,
    memory_bytes=8_000_000_000,
    python="3.11.7",
    software="lading 0.1.0",
    onnxruntime="1.9.0",
    providers=("CPUExecutionProvider",),
    fingerprint="0123456789ab",
    image="registry.example/iris@sha256:abcd",
    packages={"numpy": "2.1.0", "uvicorn": "0.30.1"},
    settings={"workers": "2"},
    models=(READY, FAILED),
)
FOREIGN = Replica(
    id="http://10.0.0.7:8501",
    pattern="foreign",
    software="TensorFlow Serving",
    models=(ReplicaModel(name="net", version=0, version_text="v2", state="AVAILABLE"),),
)


def like_web(id: str, **changes: object) -> Replica:
    return msgspec.structs.replace(WEB, id=id, models=(READY,), **changes)


def fleet(*replicas: Replica) -> Knowledge:
    return Knowledge(newest={}, releases={}, replicas=replicas, alarms=(), read_at=1_000_000.0)


MANY = fleet(
    WEB,
    FOREIGN,
    like_web("web-10", onnxruntime="1.20.0", pattern="in-image"),
    like_web("web-2", silent_s=GONE_AFTER_S + 1, onnxruntime="1.20.1", packages={"numpy": "1.26.4"}),
    like_web("web-3", stopped_at="2026-11-30T08:00:00Z", silent_s=60.0),
)


def ids(**query: str) -> list[str]:
    table = inventory(MANY, TableState.of(query, COLUMNS, FILTERS)).table
    return [row.id for row in table.rows]


@pytest.fixture
def registry(tmp_path) -> Iterator[Registry]:
    with Registry.open(str(tmp_path / "registry")) as opened:
        yield opened


@pytest.fixture
def hub(registry) -> HubPages:
    return HubPages(registry)


@pytest.fixture
def silence(tmp_path):
    """Return a function after which a replica seems to have been silent for some seconds."""

    def silence(replica_id: str, seconds: float) -> None:
        with closing(sqlite3.connect(tmp_path / "registry" / "catalog.db")) as connection, connection:
            query = "update replicas set last_seen_at = last_seen_at - ? where id = ?"
            assert connection.execute(query, (seconds, replica_id)).rowcount == 1

    return silence


def test_running_servers_come_first_and_numbers_in_names_and_versions_count_as_numbers():
    assert ids() == ["web-9", "web-10", "http://10.0.0.7:8501", "web-2", "web-3"]
    assert ids(sort="id") == ["http://10.0.0.7:8501", "web-2", "web-3", "web-9", "web-10"]
    assert ids(sort="-onnxruntime")[:2] == ["web-2", "web-10"]
    assert ids(sort="onnxruntime")[0] == "http://10.0.0.7:8501"
    assert ids(sort="seen")[:2] == ["web-3", "web-2"]


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_sorts_both_ways(column):
    assert sorted(ids(sort=column)) == sorted(ids(sort=f"-{column}"))
    assert ids(sort=column) == ids(sort=f"-{column}")[::-1]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"standing": "gone"}, ["web-2"]),
        ({"standing": "stopped"}, ["web-3"]),
        ({"standing": "foreign"}, ["http://10.0.0.7:8501"]),
        ({"pattern": "in-image"}, ["web-10"]),
        ({"models": "failed"}, ["web-9"]),
        ({"q": "numpy==1"}, ["web-2"]),
        ({"q": "net:v2"}, ["http://10.0.0.7:8501"]),
        ({"q": "rack-2 iris:2"}, ["web-9"]),
        ({"q": "RACK-2", "standing": "running", "pattern": "load"}, ["web-9"]),
        ({"q": "nothing"}, []),
    ],
)
def test_servers_are_found_by_how_they_stand_and_by_anything_that_they_have(query, expected):
    assert ids(**query) == expected


def test_filters_stay_when_the_order_changes_and_the_page_begins_again():
    state = TableState.of({"standing": "running", "q": "a b", "page": "2"}, COLUMNS, FILTERS)
    assert state.sorted_by("id") == "?q=a+b&standing=running&sort=id"
    assert state.with_filter("standing", "") == "?q=a+b"
    for query in ({"standing": "x"}, {"pattern": "load "}, {"models": "ready"}, {"sort": "x"}):
        with pytest.raises(UsageError, match=next(iter(query))):
            TableState.of(query, COLUMNS, FILTERS)


def test_what_a_server_reported_before_it_was_gone_is_no_failure_now():
    table = inventory(fleet(msgspec.structs.replace(WEB, silent_s=60.0)), TableState())
    assert (table.failed, table.standings) == (0, {"gone": 1})


def test_a_version_with_digits_without_end_is_sorted_like_any_other():
    versions = ["1" * 6000, "9" * 5999, "1.x.²", ""]
    table = inventory(
        fleet(*(Replica(id=f"web-{at}", onnxruntime=text) for at, text in enumerate(versions))),
        TableState(sort="-onnxruntime"),
    ).table
    assert [row.id for row in table.rows] == ["web-0", "web-1", "web-2", "web-3"]


def test_the_page_says_of_each_server_how_it_stands_and_of_each_model_its_state(registry, hub, silence):
    for replica in (WEB, like_web("web-2"), like_web("web-3", stopped_at="2026-11-30T08:00:00Z"), FOREIGN):
        registry.fleet.beat(replica)
    silence("web-2", 90.0)
    silence("web-3", 600.0)
    silence(FOREIGN.id, STALE_S + 9)
    answer = hub.get("/inventory")
    text = text_of(answer)
    assert answer.status_code == 200
    assert "iris:2 failed golden samples: row 3 differs <b> " in text
    assert "iris:1 ready" in text
    assert "net:v2 AVAILABLE" in text
    assert "silent, last heartbeat 1 min ago" in text
    assert "stopped, 10 min ago" in text
    assert "not asked for a day" in text
    assert "4 of 4 servers" in text
    assert "b" not in parsed(answer).tags
    rows = {row["id"]: row for row in hub.data("/inventory")["table"]["rows"]}
    assert {id: row["standing"] for id, row in rows.items()} == {
        "web-9": "running",
        "web-2": "gone",
        "web-3": "stopped",
        FOREIGN.id: "foreign",
    }
    assert rows["web-9"]["models"][0]["model"]["reason"] == FAILED.reason


def test_more_models_than_a_row_has_room_for_are_one_click_away(registry, hub):
    models = tuple(ReplicaModel(name=f"m{at}", version=1, state="ready") for at in range(20))
    registry.fleet.beat(msgspec.structs.replace(WEB, models=(*models, FAILED)))
    page, own = text_of(hub.get("/inventory")), text_of(hub.get("/inventory/web-9"))
    assert "iris:2 failed" in page
    assert "and 15 more" in page
    assert all(f"m{at}:1 ready" in own for at in range(20))


IDS = (
    "http://10.0.0.7:8501",
    "a/b",
    "/a//b/",
    "a/../b",
    "a?b=c&d#e",
    "100%",
    "%2F",
    "+ +",
    "서버 1",
    "<script>alert(1)</script>",
    "\"'><img src=x>",
    "a\\b;c",
    "-x",
    "a.json",
)


@pytest.mark.slow
def test_a_server_is_reached_by_its_link_whatever_its_id_is(registry, hub):
    for each in IDS:
        registry.fleet.beat(Replica(id=each, host=each))
    links = [link for link, _ in parsed(hub.get("/inventory")).links if link.startswith("/inventory/")]
    assert len(links) == len(IDS)
    for link in links:
        answer = hub.get(link)
        assert answer.status_code == 200
        assert not {"script", "img"} & parsed(answer).tags
        own = hub.data(link)["replica"]["id"]
        assert own in IDS
        assert own in text_of(answer)
    assert {hub.data(link)["replica"]["id"] for link in links} == set(IDS)


def test_the_page_of_a_server_has_all_that_it_reports(registry, hub):
    registry.fleet.beat(WEB)
    text = text_of(hub.get("/inventory/web-9"))
    for part in (
        "rack-2", "http://10.0.0.9:8000", "Debian 12", "8.0 GB", "3.11.7", "lading 0.1.0", "1.9.0",
        "CPUExecutionProvider", "0123456789ab", "registry.example/iris@sha256:abcd", "numpy 2.1.0",
        "uvicorn 0.30.1", "workers 2", "loads from the registry", "ml@example.com", "abababababab",
    ):  # fmt: skip
        assert part in text
    assert "lading inventory forget" not in text
    assert hub.data("/inventory/web-9")["replica"]["settings"] == {"workers": "2"}


def test_the_next_command_for_a_stale_server_can_be_copied():
    gone = Replica(id="-it's $HOME", silent_s=60.0)
    assert replica_page(fleet(gone), gone.id).command == """lading inventory forget -- '-it'"'"'s $HOME'"""
    asked_long_ago = msgspec.structs.replace(FOREIGN, silent_s=STALE_S + 1)
    assert replica_page(fleet(asked_long_ago), FOREIGN.id).command == "lading inventory --ask"
    assert replica_page(fleet(WEB), "web-9").command == ""


def test_a_server_that_is_not_listed_is_not_found(hub):
    answer = hub.get("/inventory/web-1")
    assert answer.status_code == 404
    assert "server `web-1`: expected a server of the inventory, found none" in text_of(answer)
    assert hub.get("/api/inventory/web-1").json()["error"] == ReplicaNotFound.__name__


def test_an_empty_inventory_says_how_to_fill_it(hub):
    text = text_of(hub.get("/inventory"))
    assert "lading serve" in text
    assert "lading inventory adopt" in text


def test_a_wrong_filter_is_refused_in_words(hub):
    answer = hub.get("/inventory?standing=dead")
    assert answer.status_code == 400
    assert "`standing`: expected one of `running`, `stopped`, `gone`, `foreign`, found `dead`" in text_of(
        answer
    )


def test_the_pages_are_korean_for_those_who_read_it(registry, hub):
    registry.fleet.beat(WEB)
    text = text_of(hub.get("/inventory", **{"accept-language": "ko-KR,ko;q=0.9"}))
    assert "인벤토리" in text
    assert "실행 중" in text
    assert "Inventory" not in text
