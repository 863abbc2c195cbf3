"""What every command says of itself, and what asking costs."""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import sys

import click
import pytest

from lading.cli.group import SECTIONS
from lading.cli.ui.command import Command, Group
from lading.settings import ServeSettings, variables


def below(path: tuple[str, ...], command: click.Command):
    """Give a command with its words, and those below it."""
    path = (*path, command.name)
    yield path, command
    for one in getattr(command, "commands", {}).values():
        yield from below(path, one)


COMMANDS = [one for _, commands in SECTIONS for command in commands for one in below((), command)]
names = pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])


@names
def test_every_command_has_a_text_and_an_example_in_its_help(lading, path, command):
    code, out, _ = lading(*path, "--help")
    assert code == 0
    assert re.search(rf"^Examples?:\n  .*lading {' '.join(path)}\b", out, re.MULTILINE)
    assert command.help
    assert command.short_help


@names
def test_every_option_has_help(path, command):
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name


@names
def test_every_example_is_a_right_command_line(path, command, monkeypatch, tmp_path):
    for name in ("iris_svc.onnx", "label.json", "train.csv", "gates.toml", "rows.json", "rows.csv"):
        (tmp_path / name).touch()
    (tmp_path / "iris.bundle").mkdir()
    (tmp_path / "requirements").mkdir()
    (tmp_path / "wheels").mkdir()
    for name in ("requirements/image.txt", "rootfs.tar"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert isinstance(command, Command | Group)
    for example in command.examples:
        words = shlex.split(example.replace("\\\n", "").partition("lading ")[2].partition(" > ")[0])
        assert tuple(words[: len(path)]) == path
        command.make_context(command.name, words[len(path) :])


@names
def test_every_command_but_those_that_stay_or_print_scripts_speaks_json(path, command):
    if not isinstance(command, click.Group):
        has = any("--json" in option.opts for option in command.params)
        assert has == (path not in (("serve",), ("rollout", "run"), ("completion",)))


def test_the_flags_of_serve_are_the_settings(lading):
    _, out, _ = lading("serve", "--help")
    text = " ".join(out.split())
    for one in dataclasses.fields(ServeSettings):
        assert f"--{one.name.replace('_', '-')} " in text
        assert f"env: {', '.join(variables(one))}]" in text
        assert one.metadata["help"] in text
        assert one.default == "" or f"default: {one.default};" in text


def test_a_wrong_variable_of_serve_is_named(lading, monkeypatch, bundle):
    monkeypatch.setenv("LADING_MAX_QUEUE", "many")
    code, _, said = lading("serve", bundle.path)
    assert code == 2
    assert "`LADING_MAX_QUEUE`: expected a whole number, found `many`" in said


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


def modules_after(*arguments):
    run = f"from lading.cli import main; main({list(arguments)})"
    code = f"import sys; {run}; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stderr.split()}


def test_help_loads_nothing_heavy():
    assert not modules_after("--help") & HEAVY
    assert not modules_after("serve", "--help") & HEAVY


def test_serving_loads_neither_tables_nor_a_client_nor_a_framework():
    """All that `lading serve` imports before it listens; a reference is the registry's business."""
    code = "import sys, lading.cli.group, lading.server; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"rich", "httpx", "sqlalchemy", "onnx", "sklearn", "skl2onnx", "pandas", "scipy"}
