"""The list of servers: its table, packages, stale servers, and asking foreign servers again."""

from __future__ import annotations

import json

import pytest

from support.canned_server import answering


def ids(stdout: str) -> list[str]:
    return [line.split()[0] for line in stdout.splitlines()[1:]]


def test_the_table_shows_each_model_of_each_server_running_ones_first(lading, running):
    code, stdout, _ = lading("inventory")
    assert code == 0
    assert ids(stdout) == ["other", "web-1", "web-2"]
    for text in (
        "iris:3",
        running[:19],
        "ready",
        "ml@example.com",
        "debian 12",
        "3.11.2",
        "1.26.0",
        "0 s ago",
    ):
        assert text in stdout
    assert "stopped" in stdout.splitlines()[-1]
    replicas = json.loads(lading("inventory", "--json")[1])["replicas"]
    assert [(replica["id"], replica["standing"]) for replica in replicas] == [
        ("other", "running"),
        ("web-1", "running"),
        ("web-2", "stopped"),
    ]
    assert replicas[1]["models"][0]["requests"] == 7


def test_the_servers_with_a_package_are_listed_with_its_version(lading, running):
    _, stdout, _ = lading("inventory", "--package", "numpy")
    assert [line.split()[:2] for line in stdout.splitlines()[1:]] == [["web-1", "2.3.0"], ["web-2", "2.4.0"]]
    document = json.loads(lading("inventory", "--package", "Scikit_Learn", "--json")[1])
    assert document == {
        "package": "scikit-learn",
        "replicas": [{"id": "web-1", "standing": "running", "version": "1.7.0"}],
    }
    assert lading("inventory", "--package", "torch")[:2] == (0, "")


def test_a_stopped_server_is_stale(lading, running):
    assert ids(lading("inventory", "--stale")[1]) == ["web-2"]


def test_an_inventory_without_servers_is_no_error(lading):
    assert lading("inventory")[:2] == (0, "")
    assert json.loads(lading("inventory", "--json")[1]) == {"replicas": []}


@pytest.mark.slow
def test_a_foreign_server_that_became_a_lading_server_is_reported_and_the_others_are_asked(
    lading, running, triton
):
    first, second = dict(triton), dict(triton)
    with answering(first) as changed, answering(second) as other:
        for server in (changed, other):
            assert lading("inventory", "adopt", server)[0] == 0
        first["GET /v2"] = {"name": "lading", "version": "0.1.0"}
        second["GET /v2"] = {"name": "triton", "version": "2.61.0"}
        code, stdout, _ = lading("inventory", "--ask")
        assert code == 0
        replicas = json.loads(lading("inventory", "--ask", "--json")[1])["replicas"]
    (row,) = [line for line in stdout.splitlines() if line.startswith(changed.removeprefix("http://"))]
    assert "asked again: expected a server of another kind, found a lading server" in row
    assert "2.61.0" in stdout
    assert "web-1" in stdout
    (replica,) = [replica for replica in replicas if "not_asked" in replica]
    assert replica["address"] == changed
    assert "registers itself" in replica["not_asked"]
