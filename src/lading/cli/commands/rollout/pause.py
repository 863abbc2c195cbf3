"""``lading rollout pause``: keep the shares of a release as they are."""

from __future__ import annotations

import click

from lading.cli.ui.command import Command
from lading.cli.ui.parameters import NameType, change_options, current_actor, number_option
from lading.cli.ui.steering import act_by_hand


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
    from lading.rollout.by_hand import Meant, pause

    meant, who = Meant(number), current_actor(actor)
    act_by_hand(
        registry, lambda opened: pause(opened, name, meant, actor=who, reason=reason), as_json=as_json
    )
