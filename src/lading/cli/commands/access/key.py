"""``lading access key new``: draw an API key."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click

from lading.access import ROLES
from lading.cli.ui import printing
from lading.cli.ui.command import Command, Group
from lading.cli.ui.parameters import json_option


@click.group(
    "key",
    short_help="Draw API keys.",
    cls=Group,
    examples=("lading access key new --name scoring --role predict",),
)
def key() -> None:
    """Draw API keys, of which the access file has the hashes alone."""


@key.command(
    "new",
    short_help="Draw a key, and print the lines of the access file for it.",
    cls=Command,
    examples=(
        "lading access key new --name scoring --role predict --models fraud,iris*",
        "lading access key new --name prometheus --role read --expires 90d --json",
    ),
)
@click.option("--name", required=True, help="Name of its owner, which logs and histories write down.")
@click.option(
    "--role", "roles", required=True, multiple=True, type=click.Choice(list(ROLES)), help="What it may do."
)
@click.option("--models", default="*", help="Comma-separated models, `*` for any characters.")
@click.option("--expires", default="", metavar="DURATION", help="How long it holds, such as `90d`.")
@json_option
def new(name: str, roles: tuple[str, ...], models: str, expires: str, as_json: bool) -> None:
    """Draw a key, print it once to stderr, and print to stdout the lines of the access file that know it.

    Nobody can print it again: the file has its SHA-256 alone.
    """
    from lading.access.file import check_caller_name, check_models, duration_s
    from lading.access.keys import key_hash, new_key

    check_caller_name("`--name`", name)
    patterns = check_models("`--models`", [model.strip() for model in models.split(",") if model.strip()])
    until = datetime.fromtimestamp(time.time() + duration_s(expires, "`--expires`"), UTC) if expires else None
    drawn = new_key()
    lines = [
        "[[keys]]",
        f"name = {_quoted(name)}",
        f"sha256 = {_quoted(key_hash(drawn))}",
        f"roles = [{', '.join(map(_quoted, dict.fromkeys(roles)))}]",
    ]
    # All models are the default of the file, which is shorter to read without the line.
    if patterns and patterns != ("*",):
        lines.append(f"models = [{', '.join(map(_quoted, patterns))}]")
    if until is not None:
        lines.append(f"expires = {until:%Y-%m-%dT%H:%M:%SZ}")
    if as_json:
        printing.as_json({"key": drawn, "name": name, "lines": "\n".join(lines)})
        return
    # To stderr, so that `>> access.toml` takes the lines and leaves the key on the terminal.
    printing.info(f"the key, which is printed this once: {drawn}")
    for line in ("", *lines):
        printing.data(line)


def _quoted(text: str) -> str:
    """Return a text as TOML writes it; it has printable characters alone."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
