"""``lading rollout promote``: take a release one step up by hand."""

from __future__ import annotations

import click

from lading.cli.ui.command import Command
from lading.cli.ui.parameters import NameType, change_options, current_actor
from lading.cli.ui.steering import apply_by_hand


@click.command(
    "promote",
    short_help="Take a release one step up now.",
    cls=Command,
    examples=("lading rollout promote iris --reason 'seen enough'",),
)
@click.argument("name", type=NameType())
@change_options
def promote(name: str, actor: str | None, reason: str, registry: str | None, as_json: bool) -> None:
    """Take the release of NAME one step up without waiting for the verdict; after the last step it is live.

    A shadow or A/B release goes live.
    """
    from lading.rollout import promoted

    who, why = current_actor(actor), reason or "by hand"
    apply_by_hand(name, registry, lambda release: promoted(release, who, why), as_json=as_json)
