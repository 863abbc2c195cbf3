"""The command line as a function: exit codes instead of exceptions."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lading.cli import main
from support.bundles import linear_bundle


def test_the_command_line_returns_its_exit_code_and_raises_nothing(capsys):
    assert main(["--version"]) == 0
    assert main(["pakc"]) == 2
    assert "no such command `pakc`" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["latin-1", "cp949", "utf-8"])
def test_text_of_every_script_is_printed_in_every_encoding(encoding, tmp_path):
    bundle = linear_bundle(tmp_path / "iris.bundle", owner="김철수", description="“é” – 붓꽃")
    line = [sys.executable, "-m", "lading", "inspect", str(bundle.path)]
    environ = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(line, capture_output=True, env=environ, check=True)
    text = done.stdout.decode(encoding).encode().decode("unicode_escape" if encoding != "utf-8" else "utf-8")
    assert "description" in text
    if encoding == "cp949":
        assert "김철수" in done.stdout.decode(encoding)
    if encoding == "latin-1":
        assert "é" in done.stdout.decode(encoding)
        assert "김철수" in text


@pytest.mark.slow
def test_an_argument_that_is_not_utf_8_is_a_usage_error(tmp_path):
    line = [sys.executable.encode(), b"-m", b"lading", b"list", b"--registry", b"caf\xe9"]
    done = subprocess.run(line, capture_output=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert b"expected a folder with a name in UTF-8" in done.stderr


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
