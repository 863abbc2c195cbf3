"""``lading history``: what happened to a model's releases, and whether the record is whole."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import NameType, json_option, open_registry, registry_option
from lading.errors import HistoryBroken

if TYPE_CHECKING:
    from lading.release import Event, EventKind, Release

_NOTES: frozenset[EventKind] = frozenset({"ready", "failed"})
"""Events that change no release."""


@click.command(
    "history",
    short_help="Show what happened to a model's releases.",
    cls=Command,
    examples=(
        "lading history iris",
        "lading history iris --last 5 --json",
        "lading history iris --check",
    ),
)
@click.argument("name", type=NameType())
@click.option(
    "--check", is_flag=True, help="Verify the chain: exit 1 naming the first event that is not whole."
)
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Show the last N events only.")
@registry_option
@json_option
def history(name: str, check: bool, last: int | None, registry: str | None, as_json: bool) -> None:
    """Show every event of the releases of NAME, oldest first: who, what, from where to where, and why.

    Each event carries the hash of the one before, and each release counts its changes, so that nothing that
    changed a release can be altered or left out unseen.
    """
    with open_registry(registry) as opened:
        releases = opened.releases(name)
        events = opened.events(name)
    shown = events[-last:] if last is not None else events
    if as_json:
        printing.as_json({"name": name, "events": shown})
    elif shown:
        header = ("#", "at", "release", "by", "what", "from", "to", "bundle", "runtime", "reason")
        printing.table(header, [_row(one) for one in shown])
    else:
        printing.remark(f"`{name}` was never released; `lading release {name}:1` does it")
    if check:
        _check(name, events, releases)
        printing.remark(f"the history of `{name}` is whole: {printing.count(len(events), 'event')}")


def _check(name: str, events: list[Event], releases: list[Release]) -> None:
    from lading.release import verify_chain

    where = f"history of `{name}`"
    hint = "the record was modified by something other than lading; compare it with a copy of the catalog"
    broken = verify_chain(events)
    if broken is not None:
        found = f"`{broken.kind}` by `{broken.actor}` at {broken.at}, changed or after one that was left out"
        raise HistoryBroken(
            f"{where}, event {broken.seq}", expected="an event as it was written", found=found, hint=hint
        )
    # The end of a chain can be cut off without a trace in it, but not without one in the releases: the epoch
    # of each grows by one with every change, and every change is an event. Notes at the end leave no trace.
    told = Counter(one.number for one in events if one.kind not in _NOTES)
    for release in releases:
        if told[release.number] < release.epoch:
            expected = f"{release.epoch} changes of release {release.number}"
            found = str(told[release.number])
            raise HistoryBroken(f"{where}, its end", expected=expected, found=found, hint=hint)


def _row(event: Event) -> tuple[str, ...]:
    return (
        str(event.seq),
        event.at[:19].replace("T", " "),
        str(event.number),
        event.actor,
        event.kind,
        event.from_,
        event.to,
        printing.short(event.digest),
        event.fingerprint,
        event.reason,
    )
