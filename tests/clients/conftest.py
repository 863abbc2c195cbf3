"""Clients that nobody here wrote, each in an environment of its own: `make test-clients` makes and runs them.

They are not collected without it, because an environment of TensorFlow alone is larger than all of lading's.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

collect_ignore_glob = [] if os.environ.get("LADING_CLIENTS") else ["test_*.py"]
HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".venv-clients"

Run = Callable[..., str]


@pytest.fixture
def in_environment() -> Run:
    """Return a function that runs ``tests/clients/<script>`` in an environment and returns its stdout."""

    def run(name: str, script: str, *arguments: str) -> str:
        command = [str(ENVIRONMENTS / name / "bin" / "python"), str(HERE / script), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
