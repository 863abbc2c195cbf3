"""``lading rollout promote``: take a release one step up by hand."""

from __future__ import annotations

from typing import Any

import click

from lading.cli.ui.command import Command
from lading.cli.ui.parameters import NameType, change_options, current_actor, number_option
from lading.cli.ui.steering import act_by_hand


class _GoalType(click.ParamType):  # type: ignore[type-arg]
    """Where a step leads: ``25``, ``25%`` or ``live``."""

    name = "goal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return ``live`` or a whole percentage as text."""
        goal = str(value).strip().removesuffix("%").strip()
        if goal != "live" and not goal.isdecimal():
            self.fail(f"expected a percentage such as `25`, or `live`, found `{value}`", param, ctx)
        return goal


@click.command(
    "promote",
    short_help="Take a release one step up now.",
    cls=Command,
    examples=(
        "lading rollout promote iris --release 4 --to 25 --reason 'seen enough'",
        "lading rollout promote iris --release 4 --to live",
    ),
)
@click.argument("name", type=NameType())
@number_option
@click.option(
    "--to",
    type=_GoalType(),
    metavar="PERCENT|live",
    help="Share that the step leads to; refused if the next step is another one.",
)
@change_options
def promote(
    name: str,
    number: int | None,
    to: str | None,
    actor: str | None,
    reason: str,
    registry: str | None,
    as_json: bool,
) -> None:
    """Take the release of NAME one step up without waiting for the verdict; after the last step it is live.

    A shadow or A/B release goes live. `--release` and `--to` are needed: they say which step is meant, so
    that a command that is sent twice, or by two people, takes one step and not two. Without them, the command
    says what they are now, and nothing is changed.
    """
    from lading.rollout.by_hand import Meant, promote

    meant, who = Meant(number), current_actor(actor)
    act_by_hand(
        registry,
        lambda opened: promote(opened, name, meant, to=to, actor=who, reason=reason),
        as_json=as_json,
    )
