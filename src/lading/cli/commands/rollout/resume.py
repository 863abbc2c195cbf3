"""``lading rollout resume``: let a paused release continue."""

from __future__ import annotations

import click

from lading.cli.ui.command import Command
from lading.cli.ui.parameters import NameType, change_options, current_actor, number_option
from lading.cli.ui.steering import act_by_hand


@click.command(
    "resume",
    short_help="Let a paused release continue.",
    cls=Command,
    examples=("lading rollout resume iris",),
)
@click.argument("name", type=NameType())
@number_option
@change_options
def resume(
    name: str, number: int | None, actor: str | None, reason: str, registry: str | None, as_json: bool
) -> None:
    """Let the paused release of NAME continue from its current step.

    If it is not paused, nothing is changed.
    """
    from lading.rollout.by_hand import Meant, resume

    meant, who = Meant(number), current_actor(actor)
    act_by_hand(
        registry, lambda opened: resume(opened, name, meant, actor=who, reason=reason), as_json=as_json
    )
