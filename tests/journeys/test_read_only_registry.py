"""A registry on a volume that is mounted read-only: read, verified and served from, and never written to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from lading.registry import Registry
from support.bundles import linear_bundle
from support.read_only import read_only
from support.recorded_evidence import push_proved
from support.server_process import serving


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Return the folder of a registry with two versions of a model, the first of them live."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with Registry.open(str(tmp_path / "registry")) as registry:
        for seed in (0, 1):
            push_proved(registry, linear_bundle(tmp_path / f"{seed}.bundle", seed=seed))
        registry.release("iris:1", actor="ada")
    return tmp_path / "registry"


def lading(registry: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lading", *map(str, arguments), "--registry", str(registry)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.slow
def test_commands_that_read_work_and_those_that_write_say_so_in_one_sentence(folder, tmp_path):
    with read_only(folder, tmp_path / "ro") as at:
        for reading in (
            ("list",),
            ("inspect", "iris:1"),
            ("diff", "iris:1", "iris:2"),
            ("history", "iris", "--check"),
            ("rollout", "status", "iris"),
            ("matrix", "iris"),
            ("inventory",),
            ("gc", "--dry-run"),
            ("pull", "iris:1", "--to", tmp_path / "pulled"),
        ):
            done = lading(at, *reading)
            assert done.returncode == 0, (reading, done.stderr)
        verified = lading(at, "verify", "iris:2")
        assert verified.returncode == 0
        assert "note: the evidence is not recorded" in verified.stderr
        for writing in (
            ("tag", "iris:1", "best"),
            ("release", "iris:2"),
            ("release", "iris:2", "--canary"),
            ("remove", "iris:2"),
            ("gc",),
            ("rollout", "run"),
            ("push", linear_bundle(tmp_path / "2.bundle", seed=2).path),
        ):
            done = lading(at, *writing)
            assert (done.returncode, done.stdout) == (4, ""), writing
            (error, hint) = done.stderr.splitlines()
            assert error.startswith(f"error: registry `{at}"), error
            assert "read-only" in error
            assert hint.startswith("hint: it can be read and served from; "), hint


@pytest.mark.slow
def test_a_server_follows_a_registry_that_it_cannot_write_to(folder, tmp_path):
    with read_only(folder, tmp_path / "ro") as at:
        flags = ("--registry", str(at), "--grpc-port", "-1")
        with serving(flags=flags, environ={"HOME": str(tmp_path / "home")}) as server:
            row = {"data": [[1.0, 2.0, 3.0, 4.0]]}
            assert httpx.post(f"{server.url}/models/iris/predict", json=row).status_code == 200
            health = httpx.get(f"{server.url}/health").json()
            assert health["health"] == "ok"
            assert "unreachable" not in str(health)
            with Registry.open(str(folder)) as writer:
                writer.release("iris:2", actor="ada")
            listed = f"{server.url}/models"
            server.wait_until(
                lambda: any(
                    (model["version"], model["state"]) == (2, "ready")
                    for model in httpx.get(listed).json()["models"]
                )
            )
            assert server.stop() == 0
    for words in (
        f"registry `{at}` is read-only: this server follows its releases and reports nothing",
        "no rollout is driven from here",
        "this server is not in the inventory",
    ):
        assert server.log.count(words) == 1, server.log
    assert "unreachable" not in server.log
