"""``lading rollout resume``: let a paused release continue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lading.cli.ui.command import Command
from lading.cli.ui.parameters import NameType, change_options, current_actor, number_option
from lading.cli.ui.steering import apply_by_hand

if TYPE_CHECKING:
    from lading.release import Release
    from lading.rollout import Move


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
    from lading.rollout import resumed

    who = current_actor(actor)

    def choose(release: Release) -> Move | None:
        return None if release.state == "running" else resumed(release, who, reason)

    apply_by_hand(name, registry, choose, number=number, as_json=as_json)
