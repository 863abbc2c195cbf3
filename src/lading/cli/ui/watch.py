"""Watching one release: frames on a terminal, lines into a pipe. Steers nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lading.cli.ui import printing
from lading.cli.ui import release_view as frames
from lading.errors import RegistryUnavailable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lading.registry import Registry
    from lading.release import Release
    from lading.rollout.snapshot import Snapshot

INTERVAL_S = 1.0
_MARKS = {frames.HARM: "bold red", frames.MISSING: "yellow", frames.FINE: "green"}
_STYLES = {"promote": "bold green", "hold": "yellow", "roll_back": "bold red"}


def first_look(registry: Registry, name: str) -> Snapshot:
    """Look at the current release of a model. Raises `ModelNotFound`, `VersionNotFound`."""
    from lading.cli.ui.current_release import current
    from lading.rollout import Reading
    from lading.rollout.snapshot import look

    current(registry, name)
    found = look(registry, Reading(registry), name, time.time())
    assert found is not None
    return found


def show(snapshot: Snapshot, *, as_json: bool) -> None:
    """Write one frame as plain text."""
    if as_json:
        printing.as_json(snapshot)
        return
    printing.data(frames.headline(snapshot))
    if snapshot.release.is_open:
        printing.data("")
        printing.table(*frames.sides(snapshot))
        word, reasons = frames.verdict_words(snapshot)
        printing.data(f"\nverdict so far: {word}")
        for reason in reasons:
            printing.data(f"  {frames.mark(reason)} {reason}")
    elif snapshot.release.reason:
        printing.data(snapshot.release.reason)
    for note in frames.notes(snapshot):
        printing.remark(note)


def until_it_ends(registry: Registry, first: Snapshot, *, as_json: bool) -> Release:
    """Show a release as it changes, and give it as it ended."""
    looks = _looks(registry, first)
    if as_json or not sys.stdout.isatty():
        _lines(looks, as_json=as_json)
    else:
        _live(looks)
    history = registry.releases(first.release.name)
    return next(one for one in history if one.number == first.release.number)


def _looks(registry: Registry, first: Snapshot) -> Iterator[tuple[Snapshot, float]]:
    """Return look after look while the release is on its way, and how long the registry has been silent."""
    from lading.rollout import Reading
    from lading.rollout.snapshot import look

    reading, last, name = Reading(registry), first, first.release.name
    yield first, 0.0
    while last.release.is_open:
        time.sleep(INTERVAL_S)
        try:
            found = look(registry, reading, name, time.time())
        except RegistryUnavailable:
            yield last, time.time() - last.at
            continue
        assert found is not None
        if found.release.number != first.release.number:
            return
        last = found
        yield last, 0.0


def _lines(looks: Iterator[tuple[Snapshot, float]], *, as_json: bool) -> None:
    seen: Any = None
    for snapshot, _ in looks:
        one = snapshot.release
        now = (one.state, one.step, snapshot.verdict.action if snapshot.verdict is not None else "")
        if now == seen:
            continue
        seen = now
        if as_json:
            printing.as_json(snapshot, indent=0)
        else:
            at = datetime.fromtimestamp(snapshot.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
            printing.data(f"{at} {frames.change_line(snapshot)}")
        sys.stdout.flush()


def _live(looks: Iterator[tuple[Snapshot, float]]) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(no_color=not printing.in_colour(sys.stdout))
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for snapshot, silent_s in looks:
            live.update(_frame(snapshot, silent_s), refresh=True)


def _frame(snapshot: Snapshot, silent_s: float) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(printing.clean(frames.headline(snapshot)), "bold")]
    if snapshot.verdict is not None:
        word, reasons = frames.verdict_words(snapshot)
        said = Text.assemble("verdict so far: ", (word, _STYLES[snapshot.verdict.action]))
        parts += [Text(), _sides(snapshot), Text(), said, _marked(reasons)]
    parts += [Text(), *(Text(printing.clean(note), "dim") for note in frames.notes(snapshot))]
    if silent_s:
        parts.append(Text(f"the registry has not answered for {frames.duration(silent_s)}", "bold red"))
    return Group(*parts)


def _sides(snapshot: Snapshot) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    header, rows = frames.sides(snapshot)
    grid = Table(box=None, header_style="bold", padding=(0, 3, 0, 0), pad_edge=False)
    for at, name in enumerate(header):
        grid.add_column(printing.clean(name), justify="left" if at == 0 else "right", no_wrap=True)
    for row in rows:
        grid.add_row(*(Text(printing.clean(cell)) for cell in row))
    return grid


def _marked(reasons: tuple[str, ...]) -> RenderableType:
    """Put the reasons below each other, so that the lines of a long one stay behind its sign."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1, 0, 0))
    for reason in reasons:
        sign = frames.mark(reason)
        grid.add_row("", Text(sign, _MARKS[sign]), Text(printing.clean(reason)))
    return grid
