"""The fuzzer `schemathesis` against a real server: no 5xx, no answer that /openapi.json does not describe."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lading.registry import Registry
from support.bundles import linear_bundle
from support.server_process import ServerProcess, serving

HERE = Path(__file__).parent
FUZZER = HERE.parents[1] / ".venv-clients" / "schemathesis" / "bin" / "schemathesis"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("fuzzed")
    with Registry.open(str(folder / "registry")) as registry:
        registry.push(linear_bundle(folder / "iris"), tags=("stable",))
    with serving("iris:1", flags=("--registry", str(folder / "registry"), "--jobs")) as started:
        yield started


def test_the_fuzzer_finds_no_error_and_nothing_undocumented(server, tmp_path):
    asked = ("--phases", "examples,coverage,fuzzing", "--max-examples", "60")
    bounded = ("--generation-deterministic", "--continue-on-failure", "--request-timeout", "10")
    command = [FUZZER, "--no-color", "--config-file", HERE / "schemathesis.toml", "run", *asked, *bounded]
    where = f"{server.url}/openapi.json"
    done = subprocess.run(
        [*map(str, command), where], capture_output=True, text=True, check=False, timeout=240, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in server.log
    assert httpx.get(f"{server.url}/predict/test").status_code == 200
