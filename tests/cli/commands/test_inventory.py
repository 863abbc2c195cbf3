"""`lading inventory`: the table, packages, stale servers, one server, adopting and forgetting."""

from __future__ import annotations

import json

import pytest

from lading.registry import Registry
from lading.replica import Replica, ReplicaModel
from support.canned_server import answering

DIGEST = "sha256:" + "ab" * 32
TRITON = {
    "GET /v2": {"name": "triton", "version": "2.60.0"},
    "POST /v2/repository/index": [{"name": "net", "version": "3", "state": "READY"}],
}


@pytest.fixture
def running(registry):
    """A server that runs, one that said goodbye, and one with nothing loaded."""
    model = ReplicaModel(
        name="iris", version=3, digest=DIGEST, state="ready", owner="ml@example.com", requests=7
    )
    with Registry.open(str(registry)) as opened:
        opened.fleet.beat(
            Replica(
                id="web-1",
                os="debian 12",
                python="3.11.2",
                onnxruntime="1.26.0",
                software="lading 0.1.0",
                packages={"numpy": "2.3.0", "scikit-learn": "1.7.0"},
                models=(model,),
            )
        )
        opened.fleet.beat(
            Replica(id="web-2", packages={"numpy": "2.4.0"}, models=(model,), stopped_at="2026-11-20")
        )
        opened.fleet.beat(Replica(id="other"))


def rows(out: str) -> list[str]:
    return [line.split()[0] for line in out.splitlines()[1:]]


def test_the_table_shows_each_model_of_each_server_those_that_run_first(lading, running):
    code, out, _ = lading("inventory")
    assert code == 0
    assert rows(out) == ["other", "web-1", "web-2"]
    for text in (
        "iris:3",
        DIGEST[:19],
        "ready",
        "ml@example.com",
        "debian 12",
        "3.11.2",
        "1.26.0",
        "0 s ago",
    ):
        assert text in out
    assert "stopped" in out.splitlines()[-1]
    told = json.loads(lading("inventory", "--json")[1])["replicas"]
    assert [(one["id"], one["standing"]) for one in told] == [
        ("other", "running"),
        ("web-1", "running"),
        ("web-2", "stopped"),
    ]
    assert told[1]["models"][0]["requests"] == 7


def test_who_has_which_version_of_a_package(lading, running):
    _, out, _ = lading("inventory", "--package", "numpy")
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [["web-1", "2.3.0"], ["web-2", "2.4.0"]]
    told = json.loads(lading("inventory", "--package", "Scikit_Learn", "--json")[1])
    assert told == {
        "package": "scikit-learn",
        "replicas": [{"id": "web-1", "standing": "running", "version": "1.7.0"}],
    }
    assert lading("inventory", "--package", "torch")[:2] == (0, "")


def test_stale_servers_are_those_not_known_to_run(lading, running):
    assert rows(lading("inventory", "--stale")[1]) == ["web-2"]


def test_an_inventory_without_servers_is_no_error(lading):
    assert lading("inventory")[:2] == (0, "")
    assert json.loads(lading("inventory", "--json")[1]) == {"replicas": []}


def test_one_server_is_shown_by_its_id_or_the_beginning_of_it(lading, running):
    _, out, _ = lading("inventory", "show", "oth")
    assert "other" in out
    _, out, _ = lading("inventory", "show", "web-1")
    for text in (DIGEST, "scikit-learn", "requests", "ml@example.com"):
        assert text in out
    assert json.loads(lading("inventory", "show", "web-1", "--json")[1])["packages"]["numpy"] == "2.3.0"
    code, out, said = lading("inventory", "show", "web")
    assert (code, out) == (3, "")
    assert "`web-1`, `web-2`" in said


def test_a_foreign_server_is_adopted_asked_again_and_forgotten(lading, registry):
    answers = dict(TRITON)
    with answering(answers) as server:
        code, out, said = lading("inventory", "adopt", server)
        assert code == 0
        assert "net:3" in out
        assert "triton 2.60.0" in said
        answers["GET /v2"] = {"name": "triton", "version": "2.61.0"}
        assert "2.61.0" in lading("inventory", "--ask")[1]
    code, out, said = lading("inventory", "--ask")
    assert code == 0
    assert "foreign" in out
    assert "not asked" in said
    name = server.removeprefix("http://")
    assert lading("inventory", "forget", name)[:2] == (0, f"{name}\n")
    assert lading("inventory", "forget", name)[0] == 3


def test_an_adopted_address_where_lading_answers_now_is_told_in_its_row_and_the_others_are_asked(
    lading, running
):
    first, second = dict(TRITON), dict(TRITON)
    with answering(first) as changed, answering(second) as other:
        for server in (changed, other):
            assert lading("inventory", "adopt", server)[0] == 0
        first["GET /v2"] = {"name": "lading", "version": "0.1.0"}
        second["GET /v2"] = {"name": "triton", "version": "2.61.0"}
        code, out, _ = lading("inventory", "--ask")
        assert code == 0
        told = json.loads(lading("inventory", "--ask", "--json")[1])["replicas"]
    (row,) = [line for line in out.splitlines() if line.startswith(changed.removeprefix("http://"))][:1]
    assert "asked again: expected a server of another kind, found a lading server" in row
    assert "2.61.0" in out
    assert "web-1" in out
    (one,) = [one for one in told if "not_asked" in one]
    assert one["address"] == changed
    assert "registers itself" in one["not_asked"]


def test_what_does_not_answer_is_not_adopted(lading):
    with answering({}) as server:
        assert lading("inventory", "adopt", server)[0] == 1
    assert lading("inventory", "adopt", server)[0] == 4
    assert lading("inventory", "adopt", "nowhere")[0] == 2
    assert json.loads(lading("inventory", "--json")[1]) == {"replicas": []}
