"""Write the pages of docs/reference that follow from the code: settings, commands, errors, Python.

``--check`` writes nothing and exits 1 if a page is not what the code says. The matrix of estimators is not
made here: its numbers come from a test run.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import lading
from lading import errors
from lading.cli.group import group
from lading.cli.ui import exit_codes
from lading.server.protocols import status_of
from lading.settings import ServeSettings, StoreSettings, variables

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
NOTE = "<!-- Written by scripts/reference.py from the code; `make fix` writes it again. -->"


def settings_page() -> Iterator[str]:
    """List each setting of the server: flag, variable, default, meaning."""
    yield from ("# Settings of `lading serve`", "", NOTE, "")
    yield "A flag wins over its variable, a variable over the default. A value that cannot be is refused"
    yield from ("before anything starts.", "", "| flag | variable | default | meaning |", "|---|---|---|---|")
    for field in dataclasses.fields(ServeSettings):
        flag = f"`--{field.name.replace('_', '-')}`"
        yield f"| {flag} | {_row(field)} |"
    yield from ("", "# Settings of every command", "")
    yield "`LADING_REGISTRY` names the registry; the default is the folder `~/.lading`."
    yield "`LADING_ACTOR` is who you are in the history of releases; the default is your login name."
    yield "`LADING_HUB_KEY` is the key of `lading hub`, unless `--key-file` names a file with it. The rest is"
    yield "variables only:"
    yield from ("", "| variable | default | meaning |", "|---|---|---|")
    for field in dataclasses.fields(StoreSettings):
        yield f"| {_row(field)} |"


def _row(field: dataclasses.Field[Any]) -> str:
    default = f"`{field.default}`" if field.default != "" else "empty"
    named = ", ".join(f"`{name}`" for name in variables(field))
    return f"{named} | {default} | {field.metadata['help']}{_rule(field.metadata)}"


def _rule(rules: Any) -> str:
    if rules["choices"]:
        return " One of " + ", ".join(f"`{choice}`" for choice in rules["choices"]) + "."
    return f" At least {rules['at_least']}." if rules["at_least"] else ""


def errors_page() -> Iterator[str]:
    """List each error with what it means, its HTTP status and its exit code."""
    yield from ("# Errors", "", NOTE, "")
    yield "A message is one sentence, *where: expected X, found Y*; a hint says what you can do. The error's"
    yield from ("name is the `code` of an HTTP error body; the exit code is that of the command line.", "")
    yield from ("| error | means | HTTP | exit |", "|---|---|---|---|")
    for kind in errors.leaves():
        error = kind("")
        means = inspect.getdoc(kind).replace("``", "`")
        yield f"| `{kind.__name__}` | {means} | {status_of(error)} | {exit_codes.exit_code(error)} |"
    yield from ("", "## Exit codes", "", "| code | means |", "|---|---|")
    yield from (f"| {code} | {meaning} |" for code, meaning in exit_codes.MEANING.items())


def python_page() -> Iterator[str]:
    """List the public names with their signatures and docstrings."""
    yield from ("# Python", "", NOTE, "")
    yield "`import lading` gives these names; each loads its own part of the library when first used."
    for name in sorted(lading.__all__, key=str.lower):
        thing = getattr(lading, name)
        yield from ("", f"## `lading.{name}`", "")
        if inspect.isclass(thing):
            yield from _class(thing)
        else:
            yield from ("```python", f"{name}{_signature(thing)}", "```", "", _doc(thing))


def _class(kind: type) -> Iterator[str]:
    yield _doc(kind)
    for name, member in sorted(vars(kind).items()):
        call = getattr(member, "__func__", member)
        if name.startswith("_") or not (inspect.isfunction(call) or isinstance(member, property)):
            continue
        if isinstance(member, property):
            yield from ("", f"**`.{name}`**", "", _doc(member))
        else:
            yield from ("", f"**`.{name}{_signature(call)}`**", "", _doc(call))


class _Written:
    """An annotation as it stands in the source, which `inspect` would put in quotes."""

    def __init__(self, text: str) -> None:
        self.text = text.strip("\"'")

    def __repr__(self) -> str:
        return self.text


def _signature(call: Any) -> str:
    signature = inspect.signature(call)
    kept = [
        parameter
        if parameter.annotation is parameter.empty
        else parameter.replace(annotation=_Written(parameter.annotation))
        for parameter in signature.parameters.values()
        if parameter.name not in ("self", "cls")
    ]
    return str(signature.replace(parameters=kept, return_annotation=_Written(signature.return_annotation)))


def _doc(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").replace("``", "`")


def commands_page() -> Iterator[str]:
    """Show each command's own help."""
    yield from ("# Commands", "", NOTE, "")
    yield "stdout is data, stderr is for people; `--json` gives every answer as JSON."
    for path, command in _commands((), group):
        context = click.Context(command, info_name=" ".join(("lading", *path)), terminal_width=100)
        yield from ("", f"## `{context.info_name}`", "", "```text", command.get_help(context).rstrip(), "```")


def _commands(
    path: tuple[str, ...], command: click.Command
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    for name, below in sorted(getattr(command, "commands", {}).items()):
        yield from _commands((*path, name), below)


PAGES = {
    "settings.md": settings_page,
    "errors.md": errors_page,
    "python.md": python_page,
    "commands.md": commands_page,
}


def run(*, check: bool) -> int:
    """Write the pages, or with `check` only compare; return the exit code."""
    stale = []
    for name, page in PAGES.items():
        path, text = REFERENCE / name, "\n".join(page()).rstrip() + "\n"
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.write_text(text, encoding="utf-8")
    for name in stale:
        print(f"docs/reference/{name}: {'not what the code says; run make fix' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if a page is stale")
    sys.exit(run(check=parser.parse_args().check))
