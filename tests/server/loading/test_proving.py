"""A model that crashes, or never ends, fails as a version: the server and its other models stay."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import httpx
import pytest

from lading.bundle import Bundle
from lading.errors import ModelCrashed, ModelEndless, RegistryUnavailable, UnavailableError
from lading.evidence import Evidence
from lading.registry import Registry
from lading.release import Plan
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import State
from lading.server.loading.manager import Manager
from lading.server.loading.policy import Wanted
from lading.server.loading.proving import Prover
from lading.signature import Signature
from support.bundles import linear_bundle
from support.crashing_models import ROWS, crashing_bundle, crashing_while_it_loads, endless_run
from support.model_code import children
from support.onnx_graphs import bundle_of, identity, tensor
from support.recorded_evidence import push_proved
from support.server_process import ServerProcess, serving
from support.waiting import wait_until


def prover(tmp_path: Path, *, timeout_s: float = 60, threads: int = 1) -> Prover:
    return Prover(tmp_path / "proofs", timeout_s=timeout_s, threads=threads)


def prove(by: Prover, bundle: Bundle, book: Registry | None = None) -> None:
    by.prove(bundle, lambda: None, label="iris:1", book=book)


def good_bundle(folder: Path) -> Bundle:
    signature = Signature((tensor("X", "float32", "batch", 4),), (tensor("Y", "float32", "batch", 4),))
    return bundle_of(folder, identity("float32", "batch", 4), signature, {"X": ROWS})


@pytest.mark.alone
def test_a_model_is_proved_once_for_every_server_of_a_machine(tmp_path):
    bundle, first = linear_bundle(tmp_path / "b"), prover(tmp_path)
    assert not first.is_proved(bundle)
    prove(first, bundle)
    began = time.perf_counter()
    again = prover(tmp_path)
    assert again.is_proved(bundle)
    prove(again, bundle)
    assert time.perf_counter() - began < 0.05
    # Kernels divide the work by the number of threads.
    assert not prover(tmp_path, threads=2).is_proved(bundle)
    assert not again.is_proved(linear_bundle(tmp_path / "other", seed=2))


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_costs_only_the_memory_of_what_was_proved(tmp_path):
    (tmp_path / "proofs").write_text("a file")
    bundle, first = linear_bundle(tmp_path / "b"), prover(tmp_path)
    prove(first, bundle)
    assert first.is_proved(bundle)
    assert not prover(tmp_path).is_proved(bundle)


@pytest.mark.slow
def test_a_crash_is_evidence_and_no_other_server_tries(tmp_path):
    bundle = crashing_bundle(tmp_path / "b", crashing_while_it_loads())
    with Registry.open(str(tmp_path / "registry")) as registry:
        with pytest.raises(ModelCrashed, match=r"loading the model ended with SIGSEGV \(11\) in"):
            prove(prover(tmp_path), bundle, registry)
        (evidence,) = registry.evidence(bundle.digest)
        assert [check.name for check in evidence.failures] == ["session"]
        with pytest.raises(ModelCrashed, match=f"SIGSEGV .*, on {evidence.measured_at[:10]}"):
            prove(prover(tmp_path), bundle, registry)


def test_a_model_whose_process_was_killed_is_no_crash_and_is_loaded_later(tmp_path):
    bundle = crashing_bundle(tmp_path / "b", endless_run())

    before = children(os.getpid())  # Other tests may have left some.

    def kill_the_process() -> None:
        wait_until(lambda: children(os.getpid()) - before)
        (child,) = children(os.getpid()) - before
        os.kill(child, signal.SIGKILL)

    with Registry.open(str(tmp_path / "registry")) as registry:
        killing = threading.Thread(target=kill_the_process)
        killing.start()
        # The manager tries again after such an error, and no release is refused because of it.
        with pytest.raises(UnavailableError, match=r"SIGKILL \(9\)"):
            prove(prover(tmp_path), bundle, registry)
        killing.join()
        assert registry.evidence(bundle.digest) == []


@pytest.mark.slow
def test_a_registry_that_cannot_be_written_or_read_serves_all_the_same(tmp_path, caplog):
    class ReadOnly:
        def evidence(self, digest: str) -> list[Evidence]:  # noqa: ARG002
            raise RegistryUnavailable("the registry", expected="an answer", found="none")

        def record(self, evidence: Evidence) -> None:  # noqa: ARG002
            raise RegistryUnavailable("the registry", expected="to be writable", found="that it is not")

    bundle = crashing_bundle(tmp_path / "b", crashing_while_it_loads())
    with pytest.raises(ModelCrashed):
        prover(tmp_path).prove(bundle, lambda: None, label="iris:1", book=ReadOnly())
    assert "the crash of iris is not recorded" in caplog.text
    prover(tmp_path).prove(linear_bundle(tmp_path / "c"), lambda: None, label="iris:2", book=ReadOnly())


@pytest.mark.slow
def test_a_load_that_does_not_end_is_given_up_and_the_next_model_loads(tmp_path):
    bundles = crashing_bundle(tmp_path / "a", endless_run()), linear_bundle(tmp_path / "b")
    plane = DataPlane()
    manager = Manager(plane, threads=1, prover=prover(tmp_path, timeout_s=2))
    manager.want(
        [
            Wanted(name, 1, bundle.digest, lambda bundle=bundle: bundle)
            for name, bundle in zip(("endless", "iris"), bundles, strict=True)
        ]
    )
    manager.start()
    try:
        wait_until(lambda: plane.find("iris").state is State.READY)
        (endless,) = plane.models["endless"]
        assert isinstance(endless.failure, ModelEndless)
        assert "had not ended after 2 s" in endless.reason
    finally:
        manager.close()


@pytest.mark.slow
def test_a_server_outlives_a_model_that_crashes_while_it_loads(tmp_path):
    crashing = crashing_bundle(tmp_path / "a", crashing_while_it_loads(), name="crashing")
    good = linear_bundle(tmp_path / "b")
    environ = {"LADING_CACHE": str(tmp_path / "cache")}
    with serving(crashing.path, good.path, environ=environ, ready=False) as server:
        server.wait_until(lambda: state_of(server, "iris") == "ready")
        assert state_of(server, "crashing") == "failed"
        assert "SIGSEGV (11)" in httpx.get(f"{server.url}/health").text
        assert server.stop() == 0


@pytest.mark.slow
def test_a_server_that_loads_without_an_end_ends_on_sigterm(tmp_path):
    endless = crashing_bundle(tmp_path / "a", endless_run())
    environ = {"LADING_CACHE": str(tmp_path / "cache")}
    with serving(endless.path, environ=environ, ready=False) as server:
        server.wait_until(lambda: child_of(server.process.pid))
        child = child_of(server.process.pid)
        assert server.stop(10) == 0
        wait_until(lambda: not Path(f"/proc/{child}").exists())


@pytest.mark.slow
def test_a_candidate_that_crashes_is_refused_and_live_answers_every_request(tmp_path):
    url = str(tmp_path / "registry")
    with Registry.open(url) as registry:
        push_proved(registry, good_bundle(tmp_path / "1"))
        push_proved(registry, crashing_bundle(tmp_path / "2", crashing_while_it_loads()))
        registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
        environ = {"LADING_REGISTRY": url}
        flags = ("--grpc-port", "-1")
        with serving(flags=flags, environ=environ) as first, serving(flags=flags, environ=environ) as second:
            registry.releases.begin("iris", 2, Plan(mode="canary", steps=(5,)), actor="t")
            deadline, answers = time.monotonic() + 30, []
            while registry.releases.current("iris").is_open and time.monotonic() < deadline:
                for server in (first, second):
                    body = {"data": [[1, 2, 3, 4]]}
                    answer = httpx.post(f"{server.url}/models/iris/predict", json=body)
                    answers.append((answer.status_code, answer.headers.get("x-lading-model")))
            events = registry.releases.events("iris")
            refused = next(event for event in events if event.kind == "refused")
            assert "loading the model ended with SIGSEGV (11)" in refused.reason
            assert answers
            assert set(answers) == {(200, "iris:1")}
            assert (first.stop(), second.stop()) == (0, 0)


def state_of(server: ServerProcess, name: str) -> str:
    listed = httpx.get(f"{server.url}/models").json()["models"]
    return next(version["state"] for version in listed if version["name"] == name)


def child_of(pid: int) -> int:
    return next(iter(children(pid)), 0)
