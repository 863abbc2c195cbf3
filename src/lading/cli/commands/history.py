"""``lading history``: what happened to a model's releases, and whether the record is complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lading import units
from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import NameType, current_actor, json_option, open_registry, registry_option
from lading.errors import UsageError

if TYPE_CHECKING:
    from lading.registry import Registry
    from lading.release import Event

_HEADER = ("#", "at", "release", "by", "event", "from", "to", "bundle", "runtime", "reason")


@click.command(
    "history",
    short_help="Show what happened to a model's releases.",
    cls=Command,
    examples=(
        "lading history iris",
        "lading history iris --last 5 --json",
        "lading history iris --check",
        "lading history iris --seal --reason 'compared with the copy of Monday'",
    ),
)
@click.argument("name", type=NameType())
@click.option(
    "--check",
    is_flag=True,
    help="Verify the chain of events; exit 1 naming the first event that was altered or is missing.",
)
@click.option(
    "--seal",
    is_flag=True,
    help="Seal all events so far with the key of `LADING_HISTORY_KEY_FILE`, as the one who has checked them.",
)
@click.option("--actor", metavar="NAME", help="Name to record with --seal.")
@click.option("--reason", default="", metavar="TEXT", help="Reason to record with --seal.")
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Show the last N events only.")
@registry_option
@json_option
def history(  # noqa: PLR0913 - one parameter per option
    name: str,
    *,
    check: bool,
    seal: bool,
    actor: str | None,
    reason: str,
    last: int | None,
    registry: str | None,
    as_json: bool,
) -> None:
    """Show every event of the releases of NAME, oldest first: who changed what, from where to where, and why.

    Each event carries the hash of the one before it, and each release counts its changes, so no change of a
    release can be altered or removed unnoticed. Who can write to the catalog can still write a whole new
    history, unless events are sealed by a key that only others have.
    """
    with open_registry(registry) as opened:
        keyring = opened.releases.keyring
        if seal:
            _seal(opened, name, current_actor(actor), reason)
        releases = opened.releases(name)
        events = opened.releases.events(name)
    recent = events[-last:] if last is not None else events
    if as_json:
        printing.as_json({"name": name, "events": recent})
    elif recent:
        printing.table(_HEADER, [_row(event) for event in recent])
    else:
        printing.info(f"`{name}` was never released; `lading release {name}:1` releases version 1")
    if check:
        from lading.release.history_check import check_history, how_forgeable

        check_history(name, events, releases, keyring)
        printing.info(f"the history of `{name}` is complete: {printing.plural(len(events), 'event')}")
        printing.info(how_forgeable(keyring))


def _seal(registry: Registry, name: str, actor: str, reason: str) -> None:
    from lading.release import EventDraft
    from lading.rollout.by_hand import current_release

    if registry.releases.keyring is None:
        hint = "name a file with a line `ID SECRET` there"
        raise UsageError("`--seal`", expected="a key in `LADING_HISTORY_KEY_FILE`", found="none", hint=hint)
    release = current_release(registry, name)
    event = registry.releases.note(release, EventDraft(kind="sealed", actor=actor, reason=reason))
    printing.info(f"sealed: the history of `{name}` up to event {event.seq}")


def _row(event: Event) -> tuple[str, ...]:
    return (
        str(event.seq),
        printing.short_time(event.at),
        str(event.number),
        event.actor,
        event.kind,
        event.from_,
        event.to,
        units.short_digest(event.digest),
        event.fingerprint,
        event.reason,
    )
