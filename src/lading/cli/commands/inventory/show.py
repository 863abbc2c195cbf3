"""``lading inventory show``: everything that is known about one server."""

from __future__ import annotations

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import json_option, open_registry, registry_option
from lading.cli.ui.replica_view import find_replica, model_fields, replica_fields, replica_json


@click.command(
    "show",
    short_help="Show everything about one server.",
    cls=Command,
    examples=("lading inventory show web-1-5f0c", "lading inventory show web-1-5f0c --json"),
)
@click.argument("replica", metavar="ID")
@registry_option
@json_option
def show(replica: str, registry: str | None, as_json: bool) -> None:
    """Show everything about the server ID, which may be shortened as long as it is unique."""
    with open_registry(registry) as opened:
        server = find_replica(opened.fleet.replicas(), replica)
    if as_json:
        printing.as_json(replica_json(server))
        return
    printing.fields(replica_fields(server))
    for model in server.models:
        printing.data("")
        printing.fields(model_fields(model))
    if server.packages:
        printing.data("")
        printing.table(("package", "version"), list(server.packages.items()))
