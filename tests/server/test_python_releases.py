"""One model as ONNX and as Python: released, shadowed, rolled back under load, and nothing is dropped."""

from __future__ import annotations

import re

import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import lading
from lading.registry import Registry
from lading.release import Plan
from lading.rollout import moves
from support.environments import environments  # noqa: F401 - a fixture
from support.load_clients import Clients, rest
from support.recorded_evidence import push_proved
from support.server_process import serving
from support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("environments")]


def test_versions_in_onnx_and_in_python_follow_each_other_under_load(tmp_path):
    url = str(tmp_path / "registry")
    registry = Registry.open(url)
    samples, classes = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=1000).fit(samples, classes)
    digests = []
    for runtime in ("onnx", "python"):
        bundle = lading.pack(
            model,
            name="iris",
            owner="ml@example.com",
            samples=samples,
            runtime=runtime,
            dtype="float32",
            to=tmp_path / runtime,
        )
        digests.append(push_proved(registry, bundle).digest)
    onnx, python = digests
    releases = registry.releases
    releases.begin("iris", 1, Plan(mode="live"), actor="story")
    clients = Clients()
    with serving(flags=("--grpc-port", "-1"), environ={"LADING_REGISTRY": url}) as server:
        clients.start(rest(int(re.findall(r":(\d+)", server.url)[0])), count=3)
        try:
            clients.wait_for(onnx)
            releases.begin("iris", 2, Plan(mode="live"), actor="story")
            clients.wait_for(python, 60)
            releases.rollback("iris", actor="story")
            clients.wait_for(onnx)
            plan = Plan(mode="canary", steps=(50,), hold_s=3600)
            canary = releases.begin("iris", 2, plan, actor="story")
            clients.wait_for(python, 60)
            clients.wait_for(onnx)
            moves.apply(registry, canary, moves.rolled_back(canary, "story", "not wanted"))
            wait_until(lambda: only(clients, onnx))
            plan = Plan(mode="shadow", hold_s=3600)
            shadow = releases.begin("iris", 2, plan, actor="story")
            wait_until(lambda: shadowed(registry, shadow.number), 60)
            assert only(clients, onnx)
            moves.apply(registry, shadow, moves.rolled_back(shadow, "story", "seen enough"))
        finally:
            clients.stop()
        assert server.stop() == 0
    answers = clients.answers
    assert {answer.status for answer in answers} == {200}
    assert clients.broken == []
    assert {answer.digest for answer in answers} == {onnx, python}


def only(clients: Clients, digest: str) -> bool:
    """Whether the newest answers are all of one bundle."""
    newest = [answer.digest for seen in clients.seen for answer in seen.answers[-20:]]
    return set(newest) == {digest}


def shadowed(registry: Registry, release: int) -> bool:
    """Whether the candidate has answered copies of requests as live did."""
    windows = registry.traffic.windows("iris", release)
    return sum(window.shadow.agreed for window in windows) > 0
