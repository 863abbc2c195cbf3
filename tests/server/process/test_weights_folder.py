"""Workers that share the weights of a model: memory, answers, kills, swaps, and what is left behind."""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import signal
import time
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
from support.server_process import ServerProcess, serving

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workers")]

_SIDE, _LAYERS = 1_850, 3
WEIGHTS_MIB = _SIDE * _SIDE * _LAYERS * 4 / 2**20
ROWS = np.random.default_rng(1).standard_normal((4, _SIDE)).astype(np.float32)
BODY = json.dumps({"data": ROWS.tolist()}).encode()


def layers(folder: Path, seed: int = 0) -> Bundle:
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
    return layers(tmp_path_factory.mktemp("weights") / "layers").path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Give the temporary directory of the server of a test, in which nobody else writes."""
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


def workers_of(server: ServerProcess) -> list[int]:
    pid = server.process.pid
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def pss_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.findall(r"^Pss: +(\d+) kB", text, re.MULTILINE)[0]) / 1024


def maps_weights(pid: int) -> bool:
    return "/weights.bin" in Path(f"/proc/{pid}/maps").read_text()


def answers_of_all(server: ServerProcess, workers: int = 2) -> set[str]:
    """Ask until every worker has answered; give the different answers, of which there should be one."""
    seen, answers = set(), set()

    def everyone() -> bool:
        with httpx.Client(base_url=server.url, timeout=20) as client:
            health = client.get("/health")
            # The same connection stays with its worker.
            answers.add(client.post("/predict", content=BODY).raise_for_status().text)
        seen.add(health.json().get("worker"))
        return len(seen) == workers

    server.wait_until(everyone)
    return answers


def measured(bundle: Path, place: Path, share: str) -> tuple[set[str], float]:
    flags = ("--workers", "2", "--threads", "1", "--grpc-port", "-1", "--share-weights", share)
    with serving(bundle, flags=flags, environ={"TMPDIR": str(place)}) as server:
        answers = answers_of_all(server)
        pids = workers_of(server)
        assert [maps_weights(pid) for pid in pids] == [share == "on"] * 2
        total = sum(pss_mib(pid) for pid in pids)
        assert len(list(place.iterdir())) == (share == "on")
        assert server.stop() == 0
    assert "WARNING" not in server.log
    assert list(place.iterdir()) == []
    return answers, total


def test_two_workers_take_the_weights_once_and_answer_to_the_last_bit_as_without(bundle, place):
    alone, total_alone = measured(bundle, place, "off")
    shared, total_shared = measured(bundle, place, "on")
    print(f"{WEIGHTS_MIB:.0f} MiB of weights, two workers: {total_alone:.0f} MiB, shared {total_shared:.0f}")
    assert len(shared) == 1
    assert shared == alone
    # Each worker takes about 47 MiB more than the weights.
    assert total_alone - total_shared > 0.9 * WEIGHTS_MIB
    assert total_shared / total_alone < 0.85


def test_a_killed_worker_is_replaced_by_one_that_shares_and_all_may_be_killed(bundle, place):
    flags = ("--workers", "2", "--threads", "1")
    with serving(bundle, flags=flags, environ={"TMPDIR": str(place)}) as server:
        answers = answers_of_all(server)
        (copy,) = place.glob("lading-weights-*/*/weights.bin")
        made = copy.stat().st_mtime_ns
        before = workers_of(server)
        os.kill(before[0], signal.SIGKILL)
        server.wait_until(lambda: server.log.count("layers is ready") == 3)
        # The other one had it open all the time: it was not made again.
        assert copy.stat().st_mtime_ns == made
        assert answers_of_all(server) == answers
        assert all(maps_weights(pid) for pid in workers_of(server))
        for pid in workers_of(server):
            os.kill(pid, signal.SIGKILL)
        server.wait_until(lambda: server.log.count("layers is ready") == 5)
        assert answers_of_all(server) == answers
        assert all(maps_weights(pid) for pid in workers_of(server))
        assert len(list(place.glob("lading-weights-*/*/weights.bin"))) == 1
        assert server.stop() == 0
    assert list(place.iterdir()) == []


def test_one_worker_has_nothing_to_share_with(bundle, place):
    with serving(bundle, environ={"TMPDIR": str(place)}) as server:
        assert list(place.iterdir()) == []
        assert not maps_weights(server.process.pid)
        assert server.stop() == 0


def test_where_nothing_can_be_written_each_worker_warns_once_and_serves(bundle, place):
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
        pushed = [registry.push(layers(tmp_path / str(seed), seed)).digest for seed in (1, 2)]
        registry.releases.begin("layers", 1, Plan(mode="live"), actor="t")
        environ = {"LADING_REGISTRY": url, "TMPDIR": str(place)}
        flags = ("--workers", "2", "--threads", "1", "--grpc-port", "-1")
        with serving(flags=flags, environ=environ) as server:

            def copies() -> list[str]:
                return [f"sha256:{one.parent.name}" for one in place.glob("lading-weights-*/*/model.onnx")]

            server.wait_until(lambda: server.log.count("layers:1 is ready") == 2)
            assert copies() == [pushed[0]]
            registry.releases.begin("layers", 2, Plan(mode="live"), actor="t")
            server.wait_until(lambda: server.log.count("layers:1 is unloaded") == 2)
            assert copies() == [pushed[1]]
            registry.releases.begin("layers", 1, Plan(mode="live"), actor="t")
            server.wait_until(lambda: server.log.count("layers:2 is unloaded") == 2)
            assert copies() == [pushed[0]]
            assert all(maps_weights(pid) for pid in workers_of(server))
            assert server.stop() == 0
    assert "WARNING" not in server.log
    assert list(place.iterdir()) == []


def test_what_a_killed_server_left_goes_when_the_next_one_starts(bundle, place, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(place))
    environ = {"TMPDIR": str(place)}
    with serving(bundle, flags=("--workers", "2"), environ=environ) as server:
        pids = workers_of(server)
        (left,) = place.iterdir()
        with weights_folder() as ours:
            assert ours is not None
            assert ours.stat().st_mode & 0o777 == 0o700
            assert left.exists()  # It is in use.
        for pid in (server.process.pid, *pids):
            os.kill(pid, signal.SIGKILL)
        server.process.wait()
    assert left.exists()
    until = time.monotonic() + 10
    while left.exists():
        assert time.monotonic() < until
        with weights_folder() as ours:  # The workers may take a moment to end.
            assert ours is not None
    assert list(place.iterdir()) == []


def test_the_folder_goes_after_an_error_too_and_where_none_can_be_made_nobody_shares(
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
    with weights_folder() as folder:  # Somebody else's link is nothing to follow, nor to stumble over.
        assert folder is not None
    monkeypatch.setattr("tempfile.tempdir", str(place / "missing"))
    with caplog.at_level(logging.WARNING, "lading.server"), weights_folder() as folder:
        assert folder is None
