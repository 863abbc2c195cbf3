"""What a server says of itself, its beat, and servers that are not ours."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from importlib import metadata
from pathlib import Path

import httpx
import msgspec
import pytest

import lading
from lading.errors import InvalidSetting, RemoteError, ServerUnavailable, UsageError
from lading.inventory import Heartbeat, adopt, describe, installed_packages
from lading.inventory.describe import normalized
from lading.registry import Registry
from lading.release import Plan
from lading.replica import GONE_AFTER_S, Replica
from lading.runtime.host.fingerprint import fingerprint, image_here
from lading.runtime.host.memory import memory_limit
from lading.server.inference.version import ServedVersion
from lading.server.metrics import Metrics
from lading.server.metrics.shared_memory import SharedCounters
from lading.server.process.compose import make_plane
from lading.server.process.status import ServerInfo, Status
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.canned_server import answering
from support.hosted_app import served_from
from support.server_process import ServerProcess, serving
from support.waiting import wait_until

BODY = b'{"data": [[1, 2, 3, 4]]}'


def status_of(*versions: ServedVersion, counters: SharedCounters | None = None) -> Status:
    """The status of a server without a wire."""
    settings = ServeSettings(port=0, workers=2)
    plane = make_plane(settings)
    plane.publish(versions)
    info = ServerInfo("web-1", 1_800_000_000.0, "http://web:8000", "grpc://web:8001", "load", settings)
    metrics = Metrics(plane, counters)
    metrics.publish()
    return Status(info, plane, metrics)


# What it says.


def test_installed_packages_are_those_of_importlib_metadata():
    expected: dict[str, str] = {}
    for one in metadata.distributions():
        expected.setdefault(normalized(one.name), one.version)
    assert installed_packages() == expected


def test_installed_packages_are_read_in_every_form_that_installers_leave(tmp_path):
    for name in (
        "PyYAML-6.0.dist-info",
        "zope.interface-5.4-py3.11.egg-info",
        "a_b-1!2.0+cpu.dist-info",
        "x.py",
    ):
        (tmp_path / name).mkdir()
    assert installed_packages([str(tmp_path), str(tmp_path / "none")]) == {
        "a-b": "1!2.0+cpu",
        "pyyaml": "6.0",
        "zope-interface": "5.4",
    }


def test_a_server_tells_what_it_runs_on_and_what_it_serves(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    found = describe(status_of(served_from(bundle, version=3)))
    here = fingerprint()
    assert (found.id, found.address, found.grpc_address) == ("web-1", "http://web:8000", "grpc://web:8001")
    assert (found.python, found.onnxruntime, found.fingerprint) == (here.python, here.onnxruntime, here.id)
    assert found.lading == lading.__version__
    assert found.packages["numpy"] == here.numpy
    assert "CPUExecutionProvider" in found.providers
    assert found.cpus >= 1
    assert found.memory_bytes == memory_limit() > 100e6
    assert found.kernel.split()[1] == os.uname().release
    assert found.started_at == "2027-01-15T08:00:00Z"
    assert found.settings == {"port": "0", "workers": "2"}, "the defaults are not worth a word"
    (model,) = found.models
    assert (model.name, model.version, model.digest, model.state) == ("iris", 3, bundle.digest, "ready")
    assert (model.purpose, model.owner) == ("classification", "ml@example.com")
    assert model.input_format == "X: float32 [batch, 4]"
    assert (model.requests, model.last_request_at) == (0, None)
    assert describe(status_of(), found).packages is found.packages, "what stays is read once"


def test_the_image_is_known_by_the_variable():
    assert image_here({}) is None
    assert image_here({"LADING_IMAGE": "sha256:cd"}) == "sha256:cd"


def test_a_cgroup_limits_the_memory(tmp_path):
    (tmp_path / "max").write_text("50000000\n")
    assert memory_limit([(str(tmp_path / "max"), "")]) == 50_000_000
    (tmp_path / "max").write_text("max\n")
    assert memory_limit([(str(tmp_path / "max"), "")]) == memory_limit([])


def test_silent_and_stopped_servers_are_gone_and_foreign_ones_never():
    assert not Replica(id="a", silent_s=GONE_AFTER_S).gone
    assert Replica(id="a", silent_s=GONE_AFTER_S + 0.1).gone
    assert Replica(id="a", stopped_at="2026-11-20T08:00:00Z").gone
    assert not Replica(id="a", pattern="foreign", silent_s=1e6).gone


# The beat.


def test_a_beat_registers_goes_on_and_says_goodbye(tmp_path):
    root, stop = str(tmp_path / "registry"), threading.Event()
    bundle = linear_bundle(tmp_path / "iris")
    beat = Heartbeat(root, status_of(served_from(bundle)), interval_s=0.02)
    thread = threading.Thread(target=beat.run, args=(stop,))
    thread.start()
    with Registry.open(root) as registry:
        wait_until(registry.fleet.replicas, 20)
        registry.fleet.forget("web-1")
        wait_until(registry.fleet.replicas, 20)
        assert not registry.fleet.replicas()[0].gone
        stop.set()
        thread.join()
        (last,) = registry.fleet.replicas()
        assert last.gone
        assert last.stopped_at


def test_a_catalog_that_is_away_at_first_hears_of_the_server_when_it_comes(tmp_path, caplog):
    root, stop = tmp_path / "registry", threading.Event()
    root.write_text("in the way")
    thread = threading.Thread(target=Heartbeat(str(root), status_of(), interval_s=0.02).run, args=(stop,))
    thread.start()
    wait_until(lambda: caplog.records, 20)
    time.sleep(0.1)
    assert len(caplog.records) == 1, "said once"
    root.unlink()
    with Registry.open(str(root)) as registry:
        wait_until(registry.fleet.replicas, 20)
    stop.set()
    thread.join()


def test_a_goodbye_frees_the_bundle_at_once(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    found = describe(status_of(served_from(bundle)))
    with Registry.open(str(tmp_path / "registry")) as registry:
        registry.push(bundle)
        registry.fleet.beat(found)
        with pytest.raises(lading.errors.StillInUse, match="web-1"):
            registry.remove("iris:1")
        registry.fleet.beat(msgspec.structs.replace(found, stopped_at="2026-11-20T08:00:00Z"))
        registry.remove("iris:1")


def replicas(root: Path) -> dict[str, Replica]:
    """Running servers by the flag ``default_model`` that they were started with."""
    with Registry.open(str(root)) as registry:
        return {one.settings.get("default_model", ""): one for one in registry.fleet.replicas()}


@pytest.mark.slow
@pytest.mark.xdist_group("workers")
def test_a_plain_and_a_following_server_of_other_versions_are_listed_and_a_killed_worker_is_no_loss(tmp_path):
    root = tmp_path / "registry"
    with Registry.open(str(root)) as registry:
        bundles = [linear_bundle(tmp_path / str(seed), seed=seed) for seed in (1, 2)]
        for bundle in bundles:
            registry.push(bundle)
        registry.releases.begin("iris", 2, Plan(mode="live"), actor="t")
    environ = {"LADING_REGISTRY": str(root)}
    plain_flags = ("--grpc-port", "-1", "--default-model", "iris")
    with (
        serving("iris:1", flags=plain_flags, environ=environ) as plain,
        serving(flags=("--grpc-port", "0", "--workers", "2"), environ=environ) as following,
    ):
        for _ in range(7):
            assert httpx.post(f"{following.url}/predict", content=BODY).status_code == 200
        wait_until(
            lambda: all(shown(root, name) == ("ready", count) for name, count in (("", 7), ("iris", 0))), 20
        )
        found = replicas(root)
        assert {one.pattern for one in found.values()} == {"load"}
        for name, server, version in (("", following, 2), ("iris", plain, 1)):
            (model,) = found[name].models
            assert (model.version, model.digest) == (version, bundles[version - 1].digest)
            assert found[name].address == server.url
        assert found[""].models[0].last_request_at is not None
        assert found[""].grpc_address == f"grpc://{following.grpc_target()}"
        killed = children(following)[0]
        os.kill(killed, signal.SIGKILL)
        following.wait_until(lambda: len(children(following)) == 2 and killed not in children(following))
        time.sleep(4)
        after = replicas(root)[""]
        assert (after.id, after.started_at, after.gone) == (found[""].id, found[""].started_at, False)
        assert after.silent_s < 4
        assert following.stop() == 0
        assert plain.stop() == 0
    assert all(one.stopped_at for one in replicas(root).values())


def shown(root: Path, name: str) -> tuple[str, int] | None:
    """State and requests of the one model of a server, once it is listed with one."""
    one = replicas(root).get(name)
    return (one.models[0].state, one.models[0].requests) if one is not None and one.models else None


def children(server: ServerProcess) -> list[int]:
    pid = server.process.pid
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_bundles_from_a_directory_are_listed_where_a_registry_was_chosen_and_never_wait_for_it(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    with serving(bundle.path, flags=("--grpc-port", "-1"), environ={"LADING_REGISTRY": str(tmp_path / "r")}):
        wait_until(lambda: replicas(tmp_path / "r"), 20)
        assert [one.models[0].name for one in replicas(tmp_path / "r").values()] == ["iris"]
    away = {"LADING_REGISTRY": f"postgresql://lading@127.0.0.1:{closed_port()}/lading"}
    with serving(bundle.path, flags=("--grpc-port", "-1"), environ=away) as server:
        server.wait_until(lambda: "cannot send heartbeats" in server.log)
        assert httpx.post(f"{server.url}/predict", content=BODY).status_code == 200
        assert server.stop() == 0
    with serving(bundle.path, flags=("--grpc-port", "-1"), environ={"HOME": str(tmp_path)}):
        assert not (tmp_path / ".lading").exists(), "nobody chose a registry"


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# Servers that are not ours.

TFS = {
    "GET /v1/models/half": {
        "model_version_status": [
            {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
            {
                "version": "124",
                "state": "END",
                "status": {"error_code": "NOT_FOUND", "error_message": "no file"},
            },
        ]
    },
    "GET /v1/models/half/versions/123/metadata": {
        "model_spec": {"name": "half", "signature_name": "", "version": "123"},
        "metadata": {
            "signature_def": {
                "signature_def": {
                    "serving_default": {
                        "inputs": {
                            "x": {
                                "dtype": "DT_FLOAT",
                                "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
                                "name": "x:0",
                            }
                        },
                        "outputs": {},
                        "method_name": "tensorflow/serving/predict",
                    }
                }
            }
        },
    },
}

TRITON = {
    "GET /v2": {"name": "triton", "version": "2.60.0", "extensions": ["model_repository", "statistics"]},
    "POST /v2/repository/index": [
        {"name": "net", "version": "3", "state": "READY"},
        {"name": "old", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"},
    ],
    "GET /v2/models/net/versions/3": {
        "name": "net",
        "versions": ["3"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "X", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [],
    },
    "GET /v2/models/stats": {
        "model_stats": [
            {
                "name": "net",
                "version": "3",
                "last_inference": 1_800_000_000_000,
                "inference_count": 12,
                "inference_stats": {"success": {"count": 10, "ns": 5}, "fail": {"count": 2, "ns": 5}},
            }
        ]
    },
}


def test_tensorflow_serving_is_asked_for_the_models_that_are_named():
    with answering(TFS) as server:
        found = adopt(server, ["half", "nobody"])
        with pytest.raises(RemoteError, match="found none") as refused:
            adopt(server)
    assert "--model" in str(refused.value.hint)
    assert (found.pattern, found.software) == ("foreign", "tensorflow-serving")
    ready, ended = found.models
    assert (ready.version, ready.state, ready.input_format) == (123, "ready", "x: float [-1]")
    assert (ended.version, ended.state, ended.reason) == (124, "unloaded", "no file")


def test_triton_is_asked_for_its_repository_and_its_counts():
    with answering(TRITON) as server:
        found = adopt(server)
    assert (found.software, found.id) == ("triton 2.60.0", server.removeprefix("http://"))
    net, old = found.models
    assert (net.version, net.state, net.input_format) == (3, "ready", "X: fp32 [-1, 4]")
    assert (net.requests, net.last_request_at) == (12, "2027-01-15T08:00:00Z")
    assert (old.state, old.reason) == ("unavailable", "unloaded")


@pytest.mark.parametrize(
    "answer", [b"", b"[", b"[]", b'{"name": 3}', b'{"name": "x", "version": []}', b"\xff"]
)
def test_an_answer_of_another_form_is_no_answer(answer):
    answers = {"GET /v2": answer, "GET /v1/models/m": answer, "GET /version": answer}
    with answering(answers) as server, pytest.raises(RemoteError):
        adopt(server, ["m"])


def test_a_server_of_lading_is_not_adopted():
    answers = {"GET /v2": {"name": "lading", "version": "0.1.0"}}
    with answering(answers) as server, pytest.raises(UsageError, match="registers itself"):
        adopt(server)


def test_an_address_that_cannot_be_is_refused_and_a_password_is_not_kept():
    for bad in ("127.0.0.1:8000", "ftp://x", "http://", "http://x:port"):
        with pytest.raises(InvalidSetting):
            adopt(bad)
    for bad in ("http://me:secret@x:port", "http://me:sec/secret@x", "me:secret@x:8000", "ftp://me:secret@x"):
        with pytest.raises(InvalidSetting, match="x") as refused:
            adopt(bad)
        assert "sec" not in str(refused.value)
    with answering(TRITON) as server:
        found = adopt(server.replace("http://", "http://me:secret@"))
    assert "secret" not in repr(found)
    with pytest.raises(ServerUnavailable):
        adopt(f"http://127.0.0.1:{closed_port()}")
