"""``lading inventory forget``: take a server off the list."""

from __future__ import annotations

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import json_option, open_registry, registry_option
from lading.cli.ui.replica_view import find_replica


@click.command(
    "forget",
    short_help="Remove a server from the list.",
    cls=Command,
    examples=("lading inventory forget 10.0.0.7:8501",),
)
@click.argument("replica", metavar="ID")
@registry_option
@json_option
def forget(replica: str, registry: str | None, as_json: bool) -> None:
    """Remove the server ID from the list. A lading server that still runs returns with its next heartbeat."""
    with open_registry(registry) as opened:
        server = find_replica(opened.fleet.replicas(), replica)
        opened.fleet.forget(server.id)
    if as_json:
        printing.as_json({"forgotten": server.id})
    else:
        printing.data(server.id)
    if server.pattern != "foreign" and not server.gone:
        printing.info(f"`{server.id}` is running: it returns with its next heartbeat")
