from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def only_docker(tmp_path, monkeypatch) -> Path:
    """Leave docker as the only program on the path; no daemon answers it."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.symlink_to(shutil.which("docker") or "/bin/false")
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    return program
