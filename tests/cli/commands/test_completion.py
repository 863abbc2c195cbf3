"""Completion scripts, in a real shell."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import click
import pytest

from lading.cli.group import group
from lading.cli.ui.parameters import NameType
from support.waiting import wait_until


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed(lading, shell):
    code, stdout, _ = lading("completion", shell)
    assert code == 0
    assert "_LADING_COMPLETE" in stdout


@pytest.mark.slow
def test_bash_completes_commands_and_references_with_colons(filled, tmp_path):
    script = tmp_path / "completion.bash"
    with script.open("w") as file:
        subprocess.run([sys.executable, "-m", "lading", "completion", "bash"], stdout=file, check=True)
    assert complete(script, "lading", "verif") == ["verify"]
    assert complete(script, "lading", "show", "ir") == ["iris"]
    assert complete(script, "lading", "show", "iris:") == ["iris:1", "iris:2", "iris:stable"]
    assert "--port" in complete(script, "lading", "serve", "--po")


def test_every_value_that_is_a_path_is_completed_as_one():
    parameters = [(command, parameter) for command in below(group) for parameter in command.params]
    paths = [
        (command, parameter)
        for command, parameter in parameters
        if {"DIR", "FILE", "DIR|REF", "URL|DIR|REF", "FILE|IMAGE"} & {parameter.metavar}
        or (
            parameter.name in ("registry", "model", "samples", "labels", "gates")
            and parameter.metavar not in ("REF", "NAME")
            and not isinstance(parameter.type, NameType)
        )
    ]
    assert len(paths) > 10
    for command, parameter in paths:
        kinds = {item.type for item in parameter.shell_complete(click.Context(command), "x")}
        assert kinds & {"dir", "file"}, (command.name, parameter.name)


def below(command):
    yield command
    for subcommand in getattr(command, "commands", {}).values():
        yield from below(subcommand)


@pytest.mark.slow
def test_bash_offers_directories_beside_models(filled, tmp_path):
    (tmp_path / "iris_of_mine").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "lading").write_text(f'#!/bin/sh\nexec {sys.executable} -m lading "$@"\n')
    (tmp_path / "bin" / "lading").chmod(0o755)
    host, terminal = pty.openpty()
    environ = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "TERM": "dumb", "PS1": "$ "}
    bash = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environ,
        start_new_session=True,
    )
    os.close(terminal)
    screen = bytearray()
    try:
        os.write(host, b"eval \"$(lading completion bash)\"; echo re''ady\n")
        wait_until(lambda: b"ready\r\n" in more(host, screen), 30, screen.decode)
        screen.clear()
        os.write(host, b"lading verify iris\t\t")
        wait_until(lambda: b"iris_of_mine/" in more(host, screen), 30, screen.decode)
    finally:
        bash.kill()
        bash.wait()
        os.close(host)
    assert b"iris " in screen


def more(host, screen):
    os.set_blocking(host, False)
    try:
        screen += os.read(host, 65536)
    except BlockingIOError:
        pass
    finally:
        os.set_blocking(host, True)
    return bytes(screen)


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
