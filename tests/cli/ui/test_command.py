"""Commands and groups: examples, suggestions, and hints."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from lading.cli.ui.command import Command, Group


@pytest.mark.parametrize(
    "command", [("verify",), ("inspect",), ("predict", "--sample"), ("serve", "--port", "0")]
)
def test_an_unknown_model_may_have_been_meant_as_a_directory(lading, filled, command):
    code, _, stderr = lading(*command, "irsi")
    assert code == 3
    assert f"error: model `irsi`: expected a model of registry `{filled}`, found no such model\n" in stderr
    assert stderr.endswith("hint: did you mean `iris`? (a directory is written `./irsi`)\n")
    assert "./" not in lading(*command, "irsi:1")[2]
    assert "./" not in lading("show", "irsi")[2]


@click.group("tool", cls=Group, examples=("tool run \\\n  --fast",))
def tool() -> None:
    """Do things."""


@tool.command("run", cls=Command)
def run() -> None:
    """Run."""


@tool.command("build", cls=Command)
def build() -> None:
    """Build."""


def test_examples_come_before_the_options_and_are_not_wrapped():
    text = CliRunner().invoke(tool, ["--help"], terminal_width=30).output
    assert "Example:\n  tool run \\\n    --fast\n\nOptions:" in text


def test_commands_are_listed_in_the_order_of_their_definition():
    assert tool.list_commands(click.Context(tool)) == ["run", "build"]
