"""The help of every command: complete, correct, and fast to print."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import click
import pytest

from lading.cli.group import SECTIONS
from lading.cli.ui.command import Command, Group


def with_subcommands(path: tuple[str, ...], command: click.Command):
    """Iterate over a command and its subcommands, each with its path."""
    path = (*path, command.name)
    yield path, command
    for subcommand in getattr(command, "commands", {}).values():
        yield from with_subcommands(path, subcommand)


COMMANDS = [
    subcommand
    for _, commands in SECTIONS
    for command in commands
    for subcommand in with_subcommands((), command)
]
for_every_command = pytest.mark.parametrize(
    ("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS]
)


def test_a_section_of_the_help_has_its_title_once():
    titles = [title for title, _ in SECTIONS]
    assert sorted(titles) == sorted(set(titles))


@for_every_command
def test_the_help_of_every_command_has_a_text_and_an_example(lading, path, command):
    code, stdout, _ = lading(*path, "--help")
    assert code == 0
    assert re.search(rf"^Examples?:\n  .*lading {' '.join(path)}\b", stdout, re.MULTILINE)
    assert command.help
    assert command.short_help


@for_every_command
def test_every_option_has_help(path, command):
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name


@for_every_command
def test_every_example_is_a_valid_command_line(path, command, monkeypatch, tmp_path):
    for name in ("iris_svc.onnx", "label.json", "train.csv", "gates.toml", "rows.json", "rows.csv"):
        (tmp_path / name).touch()
    (tmp_path / "iris.bundle").mkdir()
    (tmp_path / "iris.bundle" / "bundle.json").touch()
    (tmp_path / "requirements").mkdir()
    (tmp_path / "wheels").mkdir()
    (tmp_path / "feeds").mkdir()
    signing = (
        "ci.pem",
        "ci.pub",
        "release.pem",
        "release.pub",
        "ann.pem",
        "secret",
        "bias.json",
        "model.sig",
    )
    for name in ("requirements/image.txt", "rootfs.tar", "hub.key", *signing):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert isinstance(command, Command | Group)
    for example in command.examples:
        typed = example.replace("\\\n", "").partition("lading ")[2].partition(" > ")[0]
        # One is typed within others' words: `eval "$(lading …)"`.
        words = shlex.split(typed.partition(')"')[0])
        assert tuple(words[: len(path)]) == path
        command.make_context(command.name, words[len(path) :])


WITHOUT_JSON = (
    *(("serve",), ("rollout", "run"), ("monitor", "run")),
    *(("completion",), ("help",), ("monitor", "rules"), ("monitor", "dashboard"), ("monitor", "report")),
)
"""Commands that keep running, and those that print or write a text for something else."""


@for_every_command
def test_every_command_has_json_output_unless_it_keeps_running_or_prints_a_script(path, command):
    if not isinstance(command, click.Group):
        has_json = any("--json" in option.opts for option in command.params)
        assert has_json == (path not in WITHOUT_JSON)


HEAVY = {
    "numpy",
    "msgspec",
    "httpx",
    "rich",
    "sqlalchemy",
    "onnxruntime",
    "onnx",
    "sklearn",
    "pandas",
    "uvicorn",
}


def imported_by(*arguments):
    """Return the top-level names of all modules after a command has run in a process of its own."""
    run = f"from lading.cli import main; main({list(arguments)})"
    code = f"import sys; {run}; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.slow
def test_help_imports_nothing_heavy():
    assert not imported_by("--help") & HEAVY
    assert not imported_by("serve", "--help") & HEAVY


def test_without_arguments_the_help_goes_to_stderr_and_the_exit_code_is_2(lading):
    code, stdout, stderr = lading()
    assert (code, stdout) == (2, "")
    assert "pack" in stderr
