"""Workers that share the weights of a model: memory, answers, kills, swaps, and files left behind."""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import signal
from pathlib import Path

import httpx
import numpy as np
import pytest

from lading.bundle import Bundle
from lading.registry import Registry
from lading.release import Plan
from lading.server.process.weights_folder import weights_folder
from lading.signature import Signature
from support.onnx_graphs import bundle_of, graph, node, tensor
from support.recorded_evidence import push_proved
from support.server_process import ServerProcess, serving
from support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workers")]

_SIDE, _LAYERS = 1_850, 3
WEIGHTS_MIB = _SIDE * _SIDE * _LAYERS * 4 / 2**20
ROWS = np.random.default_rng(1).standard_normal((4, _SIDE)).astype(np.float32)
BODY = json.dumps({"data": ROWS.tolist()}).encode()


def three_matrices(folder: Path, seed: int = 0) -> Bundle:
    """Write a bundle whose model multiplies by three matrices, 41 MB in all."""
    random = np.random.default_rng(seed)
    shape = (_SIDE, _SIDE)
    x, y = (tensor(name, "float32", "batch", _SIDE) for name in ("X", f"h{_LAYERS - 1}"))
    names = ["X", *(f"h{at}" for at in range(_LAYERS))]
    model = graph(
        [node("MatMul", f"{names[at]} W{at}", names[at + 1]) for at in range(_LAYERS)],
        [x],
        [y],
        constants={
            f"W{at}": (random.standard_normal(shape) / 43).astype(np.float32) for at in range(_LAYERS)
        },
    )
    return bundle_of(folder, model, Signature(inputs=(x,), outputs=(y,)), {"X": ROWS}, name="layers")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three_matrices(tmp_path_factory.mktemp("weights") / "layers").path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The temporary directory of the server, in which nothing else writes."""
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


def pss_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.findall(r"^Pss: +(\d+) kB", text, re.MULTILINE)[0]) / 1024


def maps_weights(pid: int) -> bool:
    return "/weights.bin" in Path(f"/proc/{pid}/maps").read_text()


def answers_of_all(server: ServerProcess, workers: int = 2) -> set[str]:
    """Ask until every worker has answered; return the different answers, of which there should be one."""
    seen, answers = set(), set()

    def all_have_answered() -> bool:
        with httpx.Client(base_url=server.url, timeout=20) as client:
            health = client.get("/health")
            # The same connection stays with its worker.
            answers.add(client.post("/predict", content=BODY).raise_for_status().text)
        seen.add(health.json().get("worker"))
        return len(seen) == workers

    server.wait_until(all_have_answered)
    return answers


def measured(bundle: Path, place: Path, share: str) -> tuple[set[str], float]:
    flags = ("--workers", "2", "--threads", "1", "--grpc-port", "-1", "--share-weights", share)
    with serving(bundle, flags=flags, environ={"TMPDIR": str(place)}) as server:
        answers = answers_of_all(server)
        pids = server.worker_pids()
        assert [maps_weights(pid) for pid in pids] == [share == "on"] * 2
        total = sum(pss_mib(pid) for pid in pids)
        assert len(list(place.iterdir())) == (share == "on")
        assert server.stop() == 0
    assert "WARNING" not in server.log
    assert list(place.iterdir()) == []
    return answers, total


def test_two_workers_hold_the_weights_once_and_answer_the_same_to_the_last_bit(bundle, place):
    alone, total_alone = measured(bundle, place, "off")
    shared, total_shared = measured(bundle, place, "on")
    print(f"{WEIGHTS_MIB:.0f} MiB of weights, two workers: {total_alone:.0f} MiB, shared {total_shared:.0f}")
    assert len(shared) == 1
    assert shared == alone
    # Each worker takes about 47 MiB more than the weights.
    assert total_alone - total_shared > 0.8 * WEIGHTS_MIB
    assert total_shared / total_alone < 0.85


def test_successors_of_killed_workers_share_the_weights_again(bundle, place):
    flags = ("--workers", "2", "--threads", "1")
    with serving(bundle, flags=flags, environ={"TMPDIR": str(place)}) as server:
        answers = answers_of_all(server)
        (copy,) = place.glob("lading-weights-*/*/weights.bin")
        made = copy.stat().st_mtime_ns
        before = server.worker_pids()
        os.kill(before[0], signal.SIGKILL)
        server.wait_until(lambda: server.log.count("layers is ready") == 3)
        # The other one had it open all the time: it was not made again.
        assert copy.stat().st_mtime_ns == made
        assert answers_of_all(server) == answers
        assert all(maps_weights(pid) for pid in server.worker_pids())
        for pid in server.worker_pids():
            os.kill(pid, signal.SIGKILL)
        server.wait_until(lambda: server.log.count("layers is ready") == 5)
        assert answers_of_all(server) == answers
        assert all(maps_weights(pid) for pid in server.worker_pids())
        assert len(list(place.glob("lading-weights-*/*/weights.bin"))) == 1
        assert server.stop() == 0
    assert list(place.iterdir()) == []


def test_a_single_worker_makes_no_copy_of_the_weights(bundle, place):
    with serving(bundle, environ={"TMPDIR": str(place)}) as server:
        assert list(place.iterdir()) == []
        assert not maps_weights(server.process.pid)
        assert server.stop() == 0


def test_on_a_full_disk_each_worker_warns_once_and_serves_without_sharing(bundle, place):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As on a full disk; the server inherits it.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with serving(bundle, flags=("--workers", "2"), environ={"TMPDIR": str(place)}) as server:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            assert len(answers_of_all(server)) == 1
            assert list(place.glob("*/*/*")) == []
            assert server.stop() == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    warnings = [line for line in server.lines if "WARNING" in line]
    assert len(warnings) == 2
    for number, line in enumerate(sorted(warnings, key=lambda line: line.partition("worker ")[2]), 1):
        assert f"worker {number}: the weights of layers are not shared between workers: " in line
        assert "cannot write its optimized form" in line
    assert list(place.iterdir()) == []


def test_a_release_leaves_no_copy_behind(tmp_path, place):
    url = str(tmp_path / "registry")
    with Registry.open(url) as registry:
        pushed = [push_proved(registry, three_matrices(tmp_path / str(seed), seed)).digest for seed in (1, 2)]
        registry.releases.begin("layers", 1, Plan(mode="live"), actor="t")
        environ = {"LADING_REGISTRY": url, "TMPDIR": str(place)}
        flags = ("--workers", "2", "--threads", "1", "--grpc-port", "-1")
        with serving(flags=flags, environ=environ) as server:

            def copies() -> list[str]:
                return [f"sha256:{copy.parent.name}" for copy in place.glob("lading-weights-*/*/model.onnx")]

            server.wait_until(lambda: server.log.count("layers:1 is ready") == 2)
            assert copies() == [pushed[0]]
            registry.releases.begin("layers", 2, Plan(mode="live"), actor="t")
            server.wait_until(lambda: server.log.count("layers:1 is unloaded") == 2)
            assert copies() == [pushed[1]]
            registry.releases.begin("layers", 1, Plan(mode="live"), actor="t")
            server.wait_until(lambda: server.log.count("layers:2 is unloaded") == 2)
            assert copies() == [pushed[0]]
            assert all(maps_weights(pid) for pid in server.worker_pids())
            assert server.stop() == 0
    assert "WARNING" not in server.log
    assert list(place.iterdir()) == []


def test_the_folder_of_a_killed_server_is_removed_when_the_next_one_starts(bundle, place, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(place))
    environ = {"TMPDIR": str(place)}
    with serving(bundle, flags=("--workers", "2"), environ=environ) as server:
        pids = server.worker_pids()
        (left,) = place.iterdir()
        with weights_folder() as ours:
            assert ours is not None
            assert ours.stat().st_mode & 0o777 == 0o700
            assert left.exists()  # It is in use.
        for pid in (server.process.pid, *pids):
            os.kill(pid, signal.SIGKILL)
        server.process.wait()
    assert left.exists()

    def start_another() -> bool:
        with weights_folder() as ours:
            assert ours is not None
        return not left.exists()

    wait_until(start_another)  # The workers may take a moment to end.
    assert list(place.iterdir()) == []


def test_the_folder_is_removed_after_an_error_and_there_is_none_if_it_cannot_be_made(
    place, monkeypatch, caplog
):
    monkeypatch.setattr("tempfile.tempdir", str(place))

    def fail() -> None:
        with weights_folder() as folder:
            assert folder is not None
            assert folder.is_dir()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(place.iterdir()) == []
    with weights_folder(wanted=False) as folder:
        assert folder is None
    assert list(place.iterdir()) == []
    (place / "lading-weights-link").symlink_to(place)
    with weights_folder() as folder:  # A link of this name is neither followed nor an error.
        assert folder is not None
    monkeypatch.setattr("tempfile.tempdir", str(place / "missing"))
    with caplog.at_level(logging.WARNING, "lading.server"), weights_folder() as folder:
        assert folder is None
