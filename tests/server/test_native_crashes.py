"""Models that end ONNX Runtime with a signal: a sentence to `verify`, a refused release to two servers."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from lading.registry import Registry
from lading.release import Plan
from lading.verify import verify
from support.native_crashes import NATIVE_CRASHES, NativeCrash
from support.recorded_evidence import push_proved
from support.server_process import ServerProcess, serving
from support.waiting import wait_until

NAMED = re.compile(r"(loading the model|running the golden samples) ended with SIG(SEGV|ABRT) \(\d+\)")


@pytest.mark.slow
@pytest.mark.parametrize("crash", NATIVE_CRASHES, ids=lambda crash: crash.name)
def test_verify_names_step_and_signal(tmp_path, crash: NativeCrash):
    evidence = verify(crash.crashing(tmp_path / "b"), timeout_s=60)
    (failure,) = evidence.failures
    assert NAMED.search(failure.found)
    assert "in ONNX Runtime" in failure.found


@pytest.mark.slow
def test_two_servers_refuse_each_candidate_and_live_loses_no_request(tmp_path):
    url = str(tmp_path / "registry")
    with Registry.open(url) as registry:
        bodies = {}
        for crash in NATIVE_CRASHES:
            live = crash.live(tmp_path / f"{crash.name}-live")
            bodies[crash.name] = {"data": {k: v.tolist() for k, v in live.samples().inputs.items()}}
            push_proved(registry, live)
            push_proved(registry, crash.crashing(tmp_path / f"{crash.name}-crashing"))
            registry.releases.begin(crash.name, 1, Plan(mode="live"), actor="t")
        environ = {"LADING_REGISTRY": url}
        flags = ("--grpc-port", "-1")
        with serving(flags=flags, environ=environ) as first, serving(flags=flags, environ=environ) as second:
            for crash in NATIVE_CRASHES:
                registry.releases.begin(crash.name, 2, Plan(mode="canary", steps=(50,)), actor="t")
            answers: set[tuple[int, str | None]] = set()

            def are_refused() -> bool:
                for server in (first, second):
                    answers.update(ask(server, name, body) for name, body in bodies.items())
                return not any(registry.releases.current(crash.name).is_open for crash in NATIVE_CRASHES)

            wait_until(are_refused, 90)
            are_refused()  # Once more, with the live versions alone.
            assert answers == {(200, f"{crash.name}:1") for crash in NATIVE_CRASHES}
            for crash in NATIVE_CRASHES:
                events = registry.releases.events(crash.name)
                (refused,) = (event for event in events if event.kind == "refused")
                assert NAMED.search(refused.reason), refused.reason
                assert registry.resolve(f"{crash.name}:live").version == 1
            assert (first.stop(), second.stop()) == (0, 0)


def ask(server: ServerProcess, name: str, body: dict[str, Any]) -> tuple[int, str | None]:
    """Ask for a prediction; return the status and the version that answered."""
    answer = httpx.post(f"{server.url}/models/{name}/predict", json=body, timeout=30)
    return answer.status_code, answer.headers.get("x-lading-model")
