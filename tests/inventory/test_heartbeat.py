"""Heartbeats: servers appear in the inventory, stay in it, and sign off."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from lading.errors import StillInUse
from lading.inventory import Heartbeat, describe
from lading.registry import Registry
from lading.release import Plan
from lading.replica import Replica
from lading.server.process.status import Status
from support.bundles import linear_bundle
from support.hosted_app import served_from
from support.ports import free_port
from support.recorded_evidence import push_proved
from support.server_process import ServerProcess, serving
from support.server_status import status_of
from support.waiting import wait_until

BODY = b'{"data": [[1, 2, 3, 4]]}'


@contextmanager
def beating(heartbeat: Heartbeat) -> Iterator[None]:
    """Run the heartbeat in a thread while the block runs; it has signed off at the end."""
    stop = threading.Event()
    thread = threading.Thread(target=heartbeat.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_server_is_registered_stays_registered_and_signs_off(tmp_path):
    url, bundle = str(tmp_path / "registry"), linear_bundle(tmp_path / "iris")
    heartbeat = Heartbeat(url, status_of(served_from(bundle)), interval_s=0.02)
    with Registry.open(url) as registry:
        with beating(heartbeat):
            wait_until(registry.fleet.replicas)
            registry.fleet.forget("web-1")
            wait_until(registry.fleet.replicas)
            assert not registry.fleet.replicas()[0].gone
        (last,) = registry.fleet.replicas()
        assert last.gone
        assert last.stopped_at


class CountedStatus(Status):
    """A status that counts how often a heartbeat was due."""

    def __init__(self, status: Status) -> None:
        vars(self).update(vars(status))
        self.heartbeats = 0

    @property
    def is_leader(self) -> bool:
        self.heartbeats += 1
        return True


def test_an_unreachable_catalog_is_logged_once_and_the_server_registered_when_it_returns(tmp_path, caplog):
    root, status = tmp_path / "registry", CountedStatus(status_of())
    root.write_text("in the way")
    with beating(Heartbeat(str(root), status, interval_s=0.02)):
        wait_until(lambda: status.heartbeats > 5)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "cannot send heartbeats to the inventory, retrying" in caplog.text
        root.unlink()
        with Registry.open(str(root)) as registry:
            wait_until(registry.fleet.replicas)


def test_a_server_that_signed_off_no_longer_keeps_its_bundle_in_use(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    replica = describe(status_of(served_from(bundle)))
    with Registry.open(str(tmp_path / "registry")) as registry:
        push_proved(registry, bundle)
        registry.fleet.beat(replica)
        with pytest.raises(StillInUse, match="web-1"):
            registry.remove("iris:1")
        registry.fleet.beat(msgspec.structs.replace(replica, stopped_at="2026-11-20T08:00:00Z"))
        registry.remove("iris:1")


def replicas(root: Path) -> dict[str, Replica]:
    """Return the servers by the flag ``--default-model`` that each was started with."""
    with Registry.open(str(root)) as registry:
        return {replica.settings.get("default_model", ""): replica for replica in registry.fleet.replicas()}


def model_state(root: Path, name: str) -> tuple[str, int] | None:
    """Return state and requests of the only model of a server, once it is listed."""
    replica = replicas(root).get(name)
    if replica is None or not replica.models:
        return None
    return replica.models[0].state, replica.models[0].requests


def workers_of(server: ServerProcess) -> list[int]:
    pid = server.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.xdist_group("workers")
def test_plain_and_following_servers_are_listed_and_a_killed_worker_is_replaced_in_the_list(tmp_path):
    root = tmp_path / "registry"
    with Registry.open(str(root)) as registry:
        bundles = [linear_bundle(tmp_path / str(seed), seed=seed) for seed in (1, 2)]
        for bundle in bundles:
            push_proved(registry, bundle)
        registry.releases.begin("iris", 2, Plan(mode="live"), actor="t")
    environ = {"LADING_REGISTRY": str(root)}
    plain_flags = ("--grpc-port", "-1", "--default-model", "iris")
    with (
        serving("iris:1", flags=plain_flags, environ=environ) as plain,
        serving(flags=("--grpc-port", "0", "--workers", "2"), environ=environ) as following,
    ):
        for _ in range(7):
            assert httpx.post(f"{following.url}/predict", content=BODY).status_code == 200
        expected = {"": ("ready", 7), "iris": ("ready", 0)}
        wait_until(lambda: {name: model_state(root, name) for name in expected} == expected)
        before = replicas(root)
        assert {replica.pattern for replica in before.values()} == {"load"}
        for name, server, version in (("", following, 2), ("iris", plain, 1)):
            (model,) = before[name].models
            assert (model.version, model.digest) == (version, bundles[version - 1].digest)
            assert before[name].address == server.url
        assert before[""].models[0].last_request_at is not None
        assert before[""].grpc_address == f"grpc://{following.grpc_target()}"
        leader = workers_of(following)[0]
        os.kill(leader, signal.SIGKILL)
        killed_at = time.monotonic()
        following.wait_until(lambda: len(workers_of(following)) == 2 and leader not in workers_of(following))
        # The other worker, or the new one, sends the next heartbeats under the same id.
        wait_until(lambda: replicas(root)[""].silent_s < time.monotonic() - killed_at - 1)
        after = replicas(root)[""]
        assert (after.id, after.started_at, after.gone) == (before[""].id, before[""].started_at, False)
        assert following.stop() == 0
        assert plain.stop() == 0
    assert all(replica.stopped_at for replica in replicas(root).values())


@pytest.mark.slow
def test_a_server_of_directories_is_listed_if_a_registry_was_chosen_and_never_waits_for_it(tmp_path):
    bundle, flags = linear_bundle(tmp_path / "iris"), ("--grpc-port", "-1")
    with serving(bundle.path, flags=flags, environ={"LADING_REGISTRY": str(tmp_path / "r")}):
        wait_until(lambda: replicas(tmp_path / "r"))
        assert [replica.models[0].name for replica in replicas(tmp_path / "r").values()] == ["iris"]
    unreachable = {"LADING_REGISTRY": f"postgresql://lading@127.0.0.1:{free_port()}/lading"}
    with serving(bundle.path, flags=flags, environ=unreachable) as server:
        server.wait_until(lambda: "cannot send heartbeats" in server.log)
        assert httpx.post(f"{server.url}/predict", content=BODY).status_code == 200
        assert server.stop() == 0
    with serving(bundle.path, flags=flags, environ={"HOME": str(tmp_path)}):
        assert not (tmp_path / ".lading" / "catalog.db").exists(), "no registry was chosen"
