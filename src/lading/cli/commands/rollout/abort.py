"""``lading rollout abort``: take a candidate out of traffic."""

from __future__ import annotations

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.current_release import current_release
from lading.cli.ui.parameters import NameType, change_options, current_actor, number_option, open_registry
from lading.cli.ui.steering import print_moved


@click.command(
    "abort",
    short_help="Take a candidate out of traffic now.",
    cls=Command,
    examples=(
        "lading rollout abort iris",
        "lading rollout abort iris --release 4 --reason 'wrong training data'",
    ),
)
@click.argument("name", type=NameType())
@number_option
@change_options
def abort(
    name: str, number: int | None, actor: str | None, reason: str, registry: str | None, as_json: bool
) -> None:
    """Take the candidate of NAME out of traffic; what is live stays live.

    If it is out already, nothing is changed. Refused if the release went live: `lading rollback` undoes that.
    """
    from lading.registry.releases import check_number

    who, why = current_actor(actor), reason or "by hand"
    with open_registry(registry) as opened:
        current = current_release(opened, name)
        check_number(name, current, number)
        is_out = current.state == "rolled_back"
        moved = current if is_out else opened.releases.abort(name, release=number, actor=who, reason=why)
    print_moved(moved, as_json=as_json)
    if is_out:
        printing.info("nothing was changed")
