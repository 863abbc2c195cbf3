"""How servers of the inventory are shown, and how one is found."""

from __future__ import annotations

import msgspec
import pytest

from lading.cli.ui.replica_view import find_replica, last_seen, model_fields, replica_rows
from lading.errors import ReplicaNotFound
from lading.replica import GONE_AFTER_S, STALE_S, Replica, ReplicaModel
from support.workloads import DIGEST

CODE = ReplicaModel(name="waves", version=1, executes="code", environment=DIGEST, python="3.11")
RUNNING = Replica(id="web-1", silent_s=2)
STOPPED = Replica(id="web-2", stopped_at="2026-11-20T08:00:00Z", silent_s=300)
GONE = Replica(id="web-10", silent_s=GONE_AFTER_S + 1)
FOREIGN = Replica(id="10.0.0.7:8501", pattern="foreign", silent_s=STALE_S + 1)


def test_a_server_is_found_by_its_id_or_a_unique_beginning():
    replicas = [RUNNING, STOPPED, GONE]
    assert find_replica(replicas, "web-1") is RUNNING
    assert find_replica(replicas, "web-10") is GONE
    for text, names in (("web", "`web-1`, `web-2`, `web-10`"), ("other", "none")):
        with pytest.raises(ReplicaNotFound) as caught:
            find_replica(replicas, text)
        assert caught.value.found == names


def test_the_standing_of_a_server_follows_from_its_heartbeats():
    assert [replica.standing for replica in (RUNNING, STOPPED, GONE, FOREIGN)] == [
        "running", "stopped", "gone", "foreign",
    ]  # fmt: skip
    assert [replica.is_stale for replica in (RUNNING, STOPPED, GONE, FOREIGN)] == [False, True, True, True]
    assert last_seen(RUNNING) == "2 s ago"
    assert last_seen(STOPPED) == "stopped, 5 min ago"


def test_a_server_without_models_has_one_row_and_the_models_of_a_gone_one_are_gone():
    assert len(replica_rows(RUNNING)) == 1
    models = (
        ReplicaModel(name="iris", version=1, state="ready"),
        ReplicaModel(name="wine", version=0, state="ready"),
    )
    rows = replica_rows(Replica(id="web-10", silent_s=GONE_AFTER_S + 1, models=models))
    assert [(row[2], row[6]) for row in rows] == [("iris:1", "gone"), ("wine", "gone")]


def test_what_a_server_did_not_report_is_unknown_and_not_nothing():
    older = msgspec.convert({"name": "iris", "version": 1, "state": "ready"}, ReplicaModel)
    server = Replica(id="web-1", models=(older, CODE))
    assert [row[4:6] for row in replica_rows(server)] == [
        ("unknown", "unknown"),
        ("code", f"{DIGEST[:19]} py3.11"),
    ]
    fields = dict(model_fields(older))
    assert (fields["executes"], fields["environment"]) == ("unknown", "unknown")
    # A server of another kind reports nothing of it.
    foreign = Replica(id="10.0.0.7:8501", pattern="foreign", models=(older,))
    assert [row[4:6] for row in replica_rows(foreign)] == [("", "")]


def test_a_model_is_named_with_its_version_or_its_text():
    assert ReplicaModel(name="net", version=0, version_text="v2").title == "net:v2"
    requests = dict(
        model_fields(ReplicaModel(name="net", version=0, requests=3, last_request_at="2026-11-20"))
    )["requests"]
    assert requests == "3, the last at 2026-11-20"
