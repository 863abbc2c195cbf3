"""``lading rollout``: look at releases on their way, and steer them by hand."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from lading.cli.ui import exit_codes as exits
from lading.cli.ui import printing
from lading.cli.ui.command import Command, Group
from lading.cli.ui.current_release import current
from lading.cli.ui.parameters import (
    NameType,
    actor_here,
    actor_option,
    json_option,
    open_registry,
    reason_option,
    registry_option,
)

if TYPE_CHECKING:
    from lading.release import Release
    from lading.rollout import Move


@click.group(
    "rollout",
    short_help="Watch releases on their way, and steer them.",
    cls=Group,
    examples=(
        "lading rollout status",
        "lading rollout watch iris",
    ),
)
def rollout() -> None:
    """Look at releases on their way and steer them.

    A canary moves by itself: one process drives all rollouts of a registry, inside `lading serve` or as
    `lading rollout run`.
    """


@rollout.command(
    "status",
    short_help="Show where releases stand.",
    cls=Command,
    examples=("lading rollout status", "lading rollout status iris --json"),
)
@click.argument("name", type=NameType(), required=False)
@registry_option
@json_option
def status(name: str | None, registry: str | None, as_json: bool) -> None:
    """Show the current release of every model, or all of that of NAME.

    Of one on its way: both sides in numbers since the step began, and the verdict so far.
    """
    from lading.cli.ui import release_view as frames
    from lading.cli.ui import watch as watching

    with open_registry(registry) as opened:
        if name is not None:
            watching.show(watching.first_look(opened, name), as_json=as_json)
            return
        releases = opened.wanted()
    if as_json:
        printing.as_json({"releases": releases})
    elif releases:
        frames.release_table(releases)
    else:
        printing.remark("nothing was released yet; `lading release REF` does it")


def _steered(name: str, registry: str | None, as_json: bool, choose: Callable[[Release], Move]) -> None:
    """Do one move to the release of NAME by hand, and say where it stands then."""
    from lading.cli.ui import release_view as frames
    from lading.rollout import apply

    with open_registry(registry) as opened:
        release = current(opened, name)
        done = apply(opened, release, choose(release))
    if as_json:
        printing.as_json(frames.release_row(done))
    else:
        frames.release_table([done])
    printing.remark(frames.standing(done) if done.is_open else frames.ending(done))
    printing.remark(f"next: lading {'rollout watch' if done.is_open else 'history'} {name}")


@rollout.command(
    "promote",
    short_help="Go one step up now.",
    cls=Command,
    examples=("lading rollout promote iris --reason 'seen enough'",),
)
@click.argument("name", type=NameType())
@actor_option
@reason_option
@registry_option
@json_option
def promote(name: str, actor: str | None, reason: str, registry: str | None, as_json: bool) -> None:
    """Take the release of NAME one step up without waiting for the verdict; from the last step to live.

    A release in shadow or A/B goes live.
    """
    from lading.rollout import promoted

    who = actor_here(actor)
    _steered(name, registry, as_json, lambda release: promoted(release, who, reason or "by hand"))


@rollout.command(
    "pause",
    short_help="Leave the shares as they are.",
    cls=Command,
    examples=("lading rollout pause iris --reason 'looking into latencies'",),
)
@click.argument("name", type=NameType())
@actor_option
@reason_option
@registry_option
@json_option
def pause(name: str, actor: str | None, reason: str, registry: str | None, as_json: bool) -> None:
    """Leave the shares of the release of NAME as they are until `resume`: neither up nor back by itself."""
    from lading.rollout import paused

    who = actor_here(actor)
    _steered(name, registry, as_json, lambda release: paused(release, who, reason))


@rollout.command(
    "resume",
    short_help="Let a paused release go on.",
    cls=Command,
    examples=("lading rollout resume iris",),
)
@click.argument("name", type=NameType())
@actor_option
@reason_option
@registry_option
@json_option
def resume(name: str, actor: str | None, reason: str, registry: str | None, as_json: bool) -> None:
    """Let the paused release of NAME go on from where it stands."""
    from lading.rollout import resumed

    who = actor_here(actor)
    _steered(name, registry, as_json, lambda release: resumed(release, who, reason))


@rollout.command(
    "watch",
    short_help="Watch a release until it ends.",
    cls=Command,
    examples=("lading rollout watch iris", "lading rollout watch iris --once"),
)
@click.argument("name", type=NameType())
@click.option("--once", is_flag=True, help="Show it once and end.")
@registry_option
@json_option
@click.pass_context
def watch(ctx: click.Context, name: str, once: bool, registry: str | None, as_json: bool) -> None:
    """Watch the release of NAME live until it ends; Ctrl-C ends the watching only.

    Into a pipe it writes one line a change, with --json one document a line. Exits with 0 if the version
    became live, with 1 if it did not.
    """
    from lading.cli.ui import release_view as frames
    from lading.cli.ui import watch as watching

    with open_registry(registry) as opened:
        first = watching.first_look(opened, name)
        if once:
            watching.show(first, as_json=as_json)
            return
        ended = watching.until_it_ends(opened, first, as_json=as_json)
    printing.remark(frames.ending(ended))
    ctx.exit(exits.DONE if ended.state == "live" else exits.REFUSED)


@rollout.command(
    "run",
    short_help="Drive rollouts until stopped.",
    cls=Command,
    examples=("lading rollout run",),
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    help="Least level to log.",
)
@registry_option
def run(log_level: str, registry: str | None) -> None:
    """Drive all rollouts of the registry until SIGTERM or Ctrl-C, beside any others that want to.

    One process does it at a time; if it dies, another one takes over within 10 s and goes on from there.
    `lading serve` without a reference does the same.
    """
    from lading.logs import set_up_logging
    from lading.rollout import Driver, holder_here

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    set_up_logging(log_level)
    with open_registry(registry) as opened:
        holder = holder_here()
        printing.remark(f"`{holder}` is ready to drive; Ctrl-C ends it")
        Driver(opened, holder).run(stop)
