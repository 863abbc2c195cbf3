"""``lading rollout abort``: take a candidate out of traffic."""

from __future__ import annotations

import click

from lading.cli.ui.command import Command
from lading.cli.ui.parameters import NameType, change_options, current_actor, number_option
from lading.cli.ui.steering import act_by_hand


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
    from lading.rollout.by_hand import Meant, abort

    meant, who = Meant(number), current_actor(actor)
    act_by_hand(
        registry, lambda opened: abort(opened, name, meant, actor=who, reason=reason), as_json=as_json
    )
