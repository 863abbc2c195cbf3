"""The command line as a function: exit codes instead of exceptions."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lading.cli import main


def test_the_command_line_returns_its_exit_code_and_raises_nothing(capsys):
    assert main(["--version"]) == 0
    assert main(["pakc"]) == 2
    assert "no such command `pakc`" in capsys.readouterr().err


def test_an_unexpected_exception_becomes_an_exit_code(monkeypatch, capsys):
    def broken(*_arguments, **_settings):
        raise ZeroDivisionError

    monkeypatch.setattr("lading.cli.group.group.main", broken)
    assert main(["list"]) == 70
    assert capsys.readouterr().err.startswith("error: unexpected ZeroDivisionError\n")


@pytest.mark.slow
def test_a_closed_pipe_ends_the_command_quietly_with_141():
    line = f"{sys.executable} -m lading completion bash | (exec <&-; exit 0); echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.strip() in {"0", "141"}
