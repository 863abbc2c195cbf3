"""``lading inventory adopt``: list a server that is not lading's."""

from __future__ import annotations

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import json_option, open_registry, registry_option
from lading.cli.ui.replica_view import REPLICA_HEADER, replica_json, replica_rows


@click.command(
    "adopt",
    short_help="Add a server of another kind to the list.",
    cls=Command,
    examples=(
        "lading inventory adopt http://10.0.0.7:8000",
        "lading inventory adopt http://10.0.0.7:8501 --model iris",
    ),
)
@click.argument("url")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="Model to ask about; repeatable.  [default: all that the server lists]",
)
@registry_option
@json_option
def adopt(url: str, models: tuple[str, ...], registry: str | None, as_json: bool) -> None:
    """Ask the server at URL what it is and what it serves, and list it as foreign.

    This uses the public routes of Triton, MLServer, KServe, TensorFlow Serving and MLflow. TensorFlow
    Serving does not list its models, so name them.
    """
    from lading.inventory import adopt as ask_server

    server = ask_server(url, models)
    with open_registry(registry) as opened:
        opened.fleet.beat(server)
    if as_json:
        printing.as_json(replica_json(server))
    else:
        printing.table(REPLICA_HEADER, replica_rows(server))
    printing.info(f"adopted `{server.id}`: {server.software}, {printing.plural(len(server.models), 'model')}")
