"""Models whose runs crash the process: their version goes, the server and everything else stay."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lading.bundle import Bundle
from lading.registry import Registry
from lading.release import Plan
from lading.signature import Signature
from support.bundles import linear_bundle
from support.crashing_models import ROWS, poisoned_bundle
from support.onnx_graphs import bundle_of, identity, tensor
from support.recorded_evidence import push_proved
from support.server_process import ServerProcess, serving
from support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workers")]

POISON, GOOD = {"data": [[0, 0, 0, 0]]}, {"data": [[1, 2, 3, 4]]}
TAKEN_OUT = "that answering requests ended with SIGABRT (6) in ONNX Runtime"
FLAGS = ("--workers", "2", "--grpc-port", "-1")


def good_bundle(folder: Path, name: str = "iris") -> Bundle:
    """Write a bundle that answers with its input, under the signature of the poisoned one."""
    signature = Signature((tensor("X", "float32", "batch", 4),), (tensor("Y", "float32", "batch", 4),))
    return bundle_of(folder, identity("float32", "batch", 4), signature, {"X": ROWS}, name=name)


@pytest.fixture
def environ(tmp_path) -> dict[str, str]:
    return {"LADING_CACHE": str(tmp_path / "cache"), "LADING_REGISTRY": str(tmp_path / "registry")}


@pytest.fixture
def registry(environ) -> Iterator[Registry]:
    with Registry.open(environ["LADING_REGISTRY"]) as registry:
        yield registry


def ask(server: ServerProcess, name: str, body: dict[str, object]) -> httpx.Response | None:
    """Ask once; return None if the connection ended without an answer."""
    try:
        return httpx.post(f"{server.url}/models/{name}/predict", json=body, timeout=20)
    except httpx.TransportError:
        return None


def poison_until_refused(server: ServerProcess, name: str) -> httpx.Response:
    """Send the input that crashes until it is answered, by a worker that has loaded; return the answer."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = ask(server, name, POISON)
        if answer is not None and not is_loading(answer):
            return answer
    raise AssertionError(f"not refused:\n{server.log}")


def is_loading(answer: httpx.Response) -> bool:
    """Whether no worker was left that had loaded the model, because several crashed in one moment."""
    return answer.status_code == 503 and ("`loading`" in answer.text or "`warming`" in answer.text)


def test_of_two_models_the_one_that_crashes_answers_503_and_the_other_serves_on(tmp_path, environ):
    poisoned = poisoned_bundle(tmp_path / "a", name="poisoned")
    with serving(poisoned.path, linear_bundle(tmp_path / "b").path, flags=FLAGS, environ=environ) as server:
        server.wait_until(lambda: server.log.count("iris is ready") == 2)
        assert ask(server, "poisoned", GOOD).status_code == 200
        answer = poison_until_refused(server, "poisoned")
        assert answer.status_code == 503
        assert TAKEN_OUT in answer.json()["error"]
        assert "2 times within 60 s" in answer.json()["error"]
        # The worker that is started afterwards does not load it either.
        server.wait_until(lambda: server.log.count("iris is ready") == 4)
        statuses: Counter[tuple[str, int]] = Counter()
        for _ in range(40):
            for name in ("poisoned", "iris"):
                once = {"connection": "close"}
                url = f"{server.url}/models/{name}/predict"
                statuses[name, httpx.post(url, json=GOOD, headers=once).status_code] += 1
        assert statuses == {("poisoned", 503): 40, ("iris", 200): 40}
        # Every replica would crash alike: the other model must not go with it.
        assert httpx.get(f"{server.url}/health").status_code == 200
        assert httpx.get(f"{server.url}/v2/models/poisoned/ready").status_code != 200
        assert server.log.count("was ended by SIGABRT") == 2
        assert server.stop() == 0


def test_a_server_whose_only_model_crashes_is_not_ready_and_says_why(tmp_path, environ):
    with serving(poisoned_bundle(tmp_path / "a").path, flags=FLAGS, environ=environ) as server:
        server.wait_until(lambda: server.log.count("iris is ready") == 2)
        poison_until_refused(server, "iris")
        health = server.wait_until(lambda: (h := httpx.get(f"{server.url}/health")).status_code == 503 and h)
        assert TAKEN_OUT in health.text
        assert server.stop() == 0


def test_one_crash_takes_nothing_out(tmp_path, environ):
    with serving(poisoned_bundle(tmp_path / "a").path, flags=FLAGS, environ=environ) as server:
        server.wait_until(lambda: server.log.count("iris is ready") == 2)
        assert ask(server, "iris", POISON) is None
        server.wait_until(lambda: server.log.count("iris is ready") == 3)
        assert ask(server, "iris", GOOD).status_code == 200
        assert "taken out" not in server.log
        assert server.stop() == 0


def test_a_candidate_that_crashes_is_refused_for_all_and_live_answers_on(tmp_path, environ, registry):
    push_proved(registry, good_bundle(tmp_path / "1"))
    push_proved(registry, poisoned_bundle(tmp_path / "2"))
    registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    with (
        serving(flags=FLAGS, environ=environ) as server,
        serving(flags=("--grpc-port", "-1"), environ=environ) as follower,
    ):
        registry.releases.begin("iris", 2, Plan(mode="canary", steps=(50,)), actor="t")
        for each, workers in ((server, 2), (follower, 1)):
            each.wait_until(lambda each=each, workers=workers: each.log.count("iris:2 is ready") == workers)
        deadline, crashes = time.monotonic() + 30, 0
        while registry.releases.current("iris").is_open and time.monotonic() < deadline:
            answer = ask(server, "iris", POISON)
            if answer is None:
                crashes += 1
            else:
                assert is_loading(answer) or answer.headers["x-lading-model"] == "iris:1", answer.text
        release = registry.releases.current("iris")
        assert (release.state, release.live) == ("refused", 1)
        assert TAKEN_OUT in release.reason
        # A pair of both sides crashes as well, after its caller has been answered.
        assert crashes <= server.log.count("was ended by SIGABRT") == 2
        digest = registry.resolve("iris:2").digest
        wait_until(lambda: [c.name for c in registry.evidence(digest)[-1].failures] == ["serve"])
        # The other server, on which nothing crashed, takes it out as well.
        follower.wait_until(lambda: "iris:2 is unloaded" in follower.log)
        for each in (server, follower):
            answers = [ask(each, "iris", POISON) for _ in range(20)]
            assert {answer and answer.headers["x-lading-model"] for answer in answers} == {"iris:1"}
            assert each.stop() == 0


def test_a_release_that_went_live_and_crashes_is_taken_back(tmp_path, environ, registry):
    push_proved(registry, good_bundle(tmp_path / "1"))
    push_proved(registry, poisoned_bundle(tmp_path / "2"))
    registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    registry.releases.begin("iris", 2, Plan(mode="live"), actor="t")
    with serving(flags=FLAGS, environ=environ) as server:
        server.wait_until(lambda: server.log.count("iris:2 is ready") == 2)
        poison_until_refused(server, "iris")
        wait_until(lambda: registry.releases.current("iris").state == "refused")
        assert registry.releases.current("iris").live == 1
        server.wait_until(lambda: (a := ask(server, "iris", POISON)) and a.status_code == 200)
        assert server.stop() == 0


def test_a_live_version_with_nothing_to_go_back_to_answers_503_and_stays_the_live_one(
    tmp_path, environ, registry
):
    push_proved(registry, poisoned_bundle(tmp_path / "1"))
    push_proved(registry, good_bundle(tmp_path / "2", "wine"))
    registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    registry.releases.begin("wine", 1, Plan(mode="live"), actor="t")
    with serving(flags=FLAGS, environ=environ) as server:
        server.wait_until(lambda: server.log.count("is ready") == 4)
        answer = poison_until_refused(server, "iris")
        assert answer.status_code == 503
        assert TAKEN_OUT in answer.json()["error"]
        refused = [event.reason for event in registry.releases.events("iris") if event.kind == "refused"]
        wait_until(lambda: "refused" in [event.kind for event in registry.releases.events("iris")])
        refused = [event.reason for event in registry.releases.events("iris") if event.kind == "refused"]
        assert TAKEN_OUT in refused[0]
        assert registry.releases.current("iris").live == 1
        assert ask(server, "wine", POISON).status_code == 200
        assert httpx.get(f"{server.url}/health").status_code == 200
        assert server.stop() == 0
