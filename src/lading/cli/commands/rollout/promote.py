"""``lading rollout promote``: take a release one step up by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui.command import Command
from lading.cli.ui.parameters import NameType, change_options, current_actor, number_option
from lading.cli.ui.steering import apply_by_hand
from lading.errors import StaleRelease, UsageError

if TYPE_CHECKING:
    from lading.release import Release
    from lading.rollout import Move


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
    from lading.rollout import promoted

    who, why = current_actor(actor), reason or "by hand"

    def choose(release: Release) -> Move | None:
        if number is not None and to is not None and _is_at(release, to):
            return None
        move = promoted(release, who, why)
        if number is None or to is None:
            raise _not_named(release, _goal(move))
        _check_goal(release, move, to)
        return move

    apply_by_hand(name, registry, choose, number=number, as_json=as_json)


def _is_at(release: Release, goal: str) -> bool:
    if goal == "live":
        return release.state == "live"
    return release.is_open and f"{release.weight_percent:g}" == goal


def _goal(move: Move) -> str:
    return "live" if move.changes.get("state") == "live" else move.event.to.removesuffix(" %")


def _not_named(release: Release, goal: str) -> UsageError:
    """Return the error of a command that would take another step each time it is sent."""
    name, candidate = release.name, f"`{release.name}:{release.candidate}`"
    command = f"lading rollout promote {name} --release {release.number} --to {goal}"
    where = f"from {release.weight_percent:g} % to {goal} %" if goal != "live" else "live"
    return UsageError(
        f"promotion of `{name}`",
        expected="`--release` and `--to`, which name the step that is meant",
        found="not both",
        hint=f"`{command}` takes {candidate} {where}",
    )


def _check_goal(release: Release, move: Move, goal: str) -> None:
    """Raise `StaleRelease` if a move leads elsewhere than its author meant."""
    leads_to = _goal(move)
    if leads_to != goal:
        percent = "" if leads_to == "live" else " %"
        raise StaleRelease(
            f"promotion of release {release.number} of `{release.name}` from {release.weight_percent:g} %",
            expected=f"its next step, {leads_to}{percent}",
            found=f"`--to {goal}`",
            hint=f"look at it again: `lading rollout status {release.name}`",
        )
