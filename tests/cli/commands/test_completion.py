"""Completion scripts, in a real shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed(lading, shell):
    code, stdout, _ = lading("completion", shell)
    assert code == 0
    assert "_LADING_COMPLETE" in stdout


def test_bash_completes_commands_and_references_with_colons(filled, tmp_path):
    script = tmp_path / "completion.bash"
    with script.open("w") as file:
        subprocess.run([sys.executable, "-m", "lading", "completion", "bash"], stdout=file, check=True)
    assert complete(script, "lading", "ver") == ["verify"]
    assert complete(script, "lading", "show", "ir") == ["iris"]
    assert complete(script, "lading", "show", "iris:") == ["iris:1", "iris:2", "iris:stable"]
    assert "--port" in complete(script, "lading", "serve", "--po")


def complete(script, *words):
    """Return what bash offers for the last of the words."""
    line = " ".join(f"'{word}'" for word in words)
    code = (
        f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _lading_completion lading '' '';"
        " printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", code], capture_output=True, text=True, env={**os.environ, "PATH": path}, check=True
    )
    return sorted(done.stdout.split())
