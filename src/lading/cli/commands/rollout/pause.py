"""``lading rollout pause``: keep the shares of a release as they are."""

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
    "pause",
    short_help="Keep the shares of a release as they are.",
    cls=Command,
    examples=("lading rollout pause iris --reason 'looking into latencies'",),
)
@click.argument("name", type=NameType())
@number_option
@change_options
def pause(
    name: str, number: int | None, actor: str | None, reason: str, registry: str | None, as_json: bool
) -> None:
    """Keep the shares of the release of NAME as they are until `resume`.

    While paused, it is neither promoted nor rolled back. If it is paused already, nothing is changed.
    """
    from lading.rollout import paused

    who = current_actor(actor)

    def choose(release: Release) -> Move | None:
        return None if release.state == "paused" else paused(release, who, reason)

    apply_by_hand(name, registry, choose, number=number, as_json=as_json)
