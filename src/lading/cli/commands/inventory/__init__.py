"""``lading inventory``: the group of commands about servers; without one, the list of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from lading.cli.commands.inventory.adopt import adopt
from lading.cli.commands.inventory.forget import forget
from lading.cli.commands.inventory.show import show
from lading.cli.ui import printing
from lading.cli.ui.command import Group
from lading.cli.ui.parameters import json_option, open_registry, registry_option
from lading.cli.ui.replica_view import REPLICA_HEADER, last_seen, replica_json, replica_rows
from lading.errors import LadingError

if TYPE_CHECKING:
    from lading.registry import Registry
    from lading.replica import Replica


@click.group(
    "inventory",
    short_help="List the running servers and what they run.",
    cls=Group,
    invoke_without_command=True,
    examples=(
        "lading inventory",
        "lading inventory --package numpy",
        "lading inventory show web-1-5f0c",
        "lading inventory adopt http://10.0.0.7:8501 --model iris",
    ),
)
@click.option("--package", metavar="NAME", help="Show which version of a Python package each server has.")
@click.option(
    "--stale", is_flag=True, help="Show only servers that are gone, and foreign ones not asked for a day."
)
@click.option("--ask", is_flag=True, help="Ask the foreign servers again first.")
@registry_option
@json_option
@click.pass_context
def inventory(
    ctx: click.Context, /, package: str | None, stale: bool, ask: bool, registry: str | None, as_json: bool
) -> None:
    """List every server: where it is, what it runs on, and its models with version and state.

    A lading server registers itself and is marked as gone 15 s after its last heartbeat. Other servers are
    listed as they were when last asked.
    """
    if ctx.invoked_subcommand is not None:
        return
    from lading.trust.records import last_scans
    from lading.trust.running import digests_of

    with open_registry(registry) as opened:
        failures = _ask_again(opened) if ask else {}
        # Running servers first.
        replicas = sorted(opened.fleet.replicas(), key=lambda replica: (replica.gone, replica.id))
        scans = last_scans(opened.attachments, digests_of(replicas))
    if stale:
        replicas = [replica for replica in replicas if replica.is_stale]
    if package is not None:
        _print_package(package, replicas, as_json=as_json)
    elif as_json:
        printing.as_json({"replicas": [replica_json(replica, failures, scans) for replica in replicas]})
    elif replicas:
        rows = [row for replica in replicas for row in replica_rows(replica, failures, scans)]
        printing.table(REPLICA_HEADER, rows)
    else:
        printing.info("no server is stale" if stale else "no server uses this registry")


def _ask_again(registry: Registry) -> dict[str, LadingError]:
    """Ask every foreign server again; return, by id, the errors of those that stay as they were."""
    from lading.inventory import adopt as ask_server

    failures = {}
    for replica in registry.fleet.replicas():
        if replica.pattern != "foreign":
            continue
        # The names that were given when it was adopted: TensorFlow Serving lists none itself.
        models = [name for name in replica.settings.get("models", "").split(",") if name]
        try:
            answer = ask_server(replica.address, models)
        except LadingError as error:
            # One server that does not answer must not keep the others from being asked.
            failures[replica.id] = error
            printing.info(f"not asked: {error.message}")
        else:
            registry.fleet.beat(answer)
    return failures


def _print_package(package: str, replicas: Sequence[Replica], *, as_json: bool) -> None:
    from lading.inventory.describe import normalized

    name = normalized(package)
    matching = [replica for replica in replicas if name in replica.packages]
    if as_json:
        servers = [
            {"id": replica.id, "standing": replica.standing, "version": replica.packages[name]}
            for replica in matching
        ]
        printing.as_json({"package": name, "replicas": servers})
    elif matching:
        rows = [(replica.id, replica.packages[name], last_seen(replica)) for replica in matching]
        printing.table(("replica", name, "seen"), rows)
    else:
        printing.info(f"no server has `{name}`")


for _command in (show, adopt, forget):
    inventory.add_command(_command)
