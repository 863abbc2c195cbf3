"""``lading key``: the group of commands about keys that sign."""

from __future__ import annotations

import click

from lading.cli.commands.key.new import new
from lading.cli.commands.key.show import show
from lading.cli.ui.command import Group


@click.group(
    "key",
    short_help="Make a key that signs, or show what one is.",
    cls=Group,
    examples=("lading key new ci.pem", "lading key show ci.pub"),
)
def key() -> None:
    """Make and show keys: Ed25519, or ECDSA over P-256 or P-384, in PEM files as OpenSSL has them."""


for _command in (new, show):
    key.add_command(_command)
