"""Watching one release: redrawn on a terminal, one line per change into a pipe. Changes nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lading import units
from lading.cli.ui import printing, release_view
from lading.errors import RegistryUnavailable, VersionNotFound

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lading.registry import Registry
    from lading.release import Release
    from lading.rollout.snapshot import Snapshot

INTERVAL_S = 1.0
_HISTORY = "`lading history %s` lists its releases"
_SYMBOL_STYLES = {
    release_view.HARM: "bold red",
    release_view.PENDING: "yellow",
    release_view.FINE: "green",
    release_view.UNKNOWN: "yellow",
}
_VERDICT_STYLES = {"promote": "bold green", "hold": "yellow", "roll_back": "bold red"}


def current_snapshot(registry: Registry, name: str) -> Snapshot:
    """Return a snapshot of the current release of a model. Raises `ModelNotFound`, `VersionNotFound`."""
    from lading.rollout import WindowReader
    from lading.rollout.by_hand import current_release
    from lading.rollout.estimate import Estimator
    from lading.rollout.snapshot import take_snapshot

    # Raises where `take_snapshot` would return None.
    current_release(registry, name)
    snapshot = take_snapshot(registry, WindowReader(registry), name, registry.fleet.now(), Estimator())
    assert snapshot is not None
    return snapshot


def snapshot_of(registry: Registry, name: str, number: int) -> Snapshot:
    """Return a snapshot of one release of a model. Raises `ModelNotFound`, `VersionNotFound`."""
    from lading.rollout.snapshot import Snapshot
    from lading.traffic import ShadowCounts

    current = current_snapshot(registry, name)
    if number == current.release.number:
        return current
    release = next((each for each in registry.releases(name) if each.number == number), None)
    if release is None:
        last = current.release.number
        raise VersionNotFound(
            f"release {number} of `{name}`",
            expected=f"one of 1 to {last}",
            found="none",
            hint=_HISTORY % name,
        )
    # It has ended, because another one has begun: nothing of it is compared any more.
    return Snapshot(
        release=release,
        at=current.at,
        live=None,
        candidate=None,
        shadow=ShadowCounts(),
        verdict=None,
        driver=None,
        servers=current.servers,
    )


def print_snapshot(snapshot: Snapshot, *, as_json: bool) -> None:
    """Print a snapshot once, as plain text or JSON."""
    if as_json:
        printing.as_json(snapshot)
        return
    printing.data(release_view.headline(snapshot))
    if snapshot.release.is_open:
        printing.data("")
        printing.table(*release_view.sides(snapshot))
        word, reasons = release_view.verdict_text(snapshot)
        printing.data(f"\nverdict so far: {word}")
        for reason in reasons:
            printing.data(f"  {release_view.symbol(reason)} {reason}")
    elif snapshot.release.reason:
        printing.data(snapshot.release.reason)
    for note in release_view.notes(snapshot):
        printing.info(note)


def watch_until_end(registry: Registry, first: Snapshot, *, as_json: bool) -> Release:
    """Show a release as it changes, and return it as it ended."""
    snapshots = _snapshots(registry, first)
    if as_json or not sys.stdout.isatty():
        _print_changes(snapshots, as_json=as_json)
    else:
        _draw(snapshots)
    history = registry.releases(first.release.name)
    return next(release for release in history if release.number == first.release.number)


def _snapshots(registry: Registry, first: Snapshot) -> Iterator[tuple[Snapshot, float]]:
    """Iterate over snapshots until the release ends, each with how long the registry has been silent."""
    from lading.rollout import WindowReader
    from lading.rollout.estimate import Estimator
    from lading.rollout.snapshot import take_snapshot

    estimator = Estimator()
    reader, last, name = WindowReader(registry), first, first.release.name
    seen_at = time.monotonic()
    yield first, 0.0
    while last.release.is_open:
        pause()
        try:
            snapshot = take_snapshot(registry, reader, name, registry.fleet.now(), estimator)
        except RegistryUnavailable:
            # Keep watching: the release goes on without us, and the registry may come back.
            yield last, time.monotonic() - seen_at
            continue
        assert snapshot is not None
        if snapshot.release.number != first.release.number:
            return  # Superseded by a newer release.
        last, seen_at = snapshot, time.monotonic()
        yield last, 0.0


def pause() -> None:
    """Wait before the next look at the release."""
    time.sleep(INTERVAL_S)


def _print_changes(snapshots: Iterator[tuple[Snapshot, float]], *, as_json: bool) -> None:
    previous: Any = None
    for snapshot, _ in snapshots:
        release = snapshot.release
        # The counts change every second; a line is worth printing when one of these changes.
        state = (release.state, release.step, snapshot.verdict.action if snapshot.verdict is not None else "")
        if state == previous:
            continue
        previous = state
        if as_json:
            printing.as_json(snapshot, indent=0)
        else:
            at = datetime.fromtimestamp(snapshot.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
            printing.data(f"{at} {release_view.change_line(snapshot)}")
        # A pipe is buffered in blocks; its reader wants each line as it happens.
        sys.stdout.flush()


def _draw(snapshots: Iterator[tuple[Snapshot, float]]) -> None:
    from rich.console import Console
    from rich.live import Live

    # Redrawn after each look only; a view that is taller than the screen is cut off, not scrolled.
    console = Console(no_color=not printing.use_colour(sys.stdout))
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for snapshot, silent_s in snapshots:
            live.update(_frame(snapshot, silent_s), refresh=True)


def _frame(snapshot: Snapshot, silent_s: float) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(printing.printable(release_view.headline(snapshot)), "bold")]
    if snapshot.verdict is not None:
        word, reasons = release_view.verdict_text(snapshot)
        verdict = Text.assemble("verdict so far: ", (word, _VERDICT_STYLES[snapshot.verdict.action]))
        parts += [Text(), _sides(snapshot), Text(), verdict, _reasons(reasons)]
    parts += [Text(), *(Text(printing.printable(note), "dim") for note in release_view.notes(snapshot))]
    if silent_s:
        silence = f"the registry has not answered for {units.duration(silent_s)}"
        parts.append(Text(silence, "bold red"))
    return Group(*parts)


def _sides(snapshot: Snapshot) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    header, rows = release_view.sides(snapshot)
    grid = Table(box=None, header_style="bold", padding=(0, 3, 0, 0), pad_edge=False)
    for column, name in enumerate(header):
        # The first column names the rows; the others are numbers.
        grid.add_column(printing.printable(name), justify="left" if column == 0 else "right", no_wrap=True)
    for row in rows:
        grid.add_row(*(Text(printing.printable(cell)) for cell in row))
    return grid


def _reasons(reasons: tuple[str, ...]) -> RenderableType:
    """Return the reasons in a grid, so that the wrapped lines of a long one are indented past its symbol."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1, 0, 0))
    for reason in reasons:
        symbol = release_view.symbol(reason)
        grid.add_row("", Text(symbol, _SYMBOL_STYLES[symbol]), Text(printing.printable(reason)))
    return grid
