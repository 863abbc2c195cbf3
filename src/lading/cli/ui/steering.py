"""One act of a person on a release, as `lading rollout promote`, `pause`, `resume` and `abort` do it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lading.cli.ui import printing, release_view
from lading.cli.ui.parameters import open_registry

if TYPE_CHECKING:
    from lading.registry import Registry
    from lading.release import Release
    from lading.rollout.by_hand import Done


def act_by_hand(url: str | None, act: Callable[[Registry], Done], *, as_json: bool) -> None:
    """Do what `act` does to the registry at `url`, and print the release that comes of it."""
    with open_registry(url) as registry:
        done = act(registry)
    print_moved(done.release, as_json=as_json)
    if not done.changed:
        printing.info("nothing was changed")


def print_moved(moved: Release, *, as_json: bool) -> None:
    """Print a release after a move by hand, and what to look at next."""
    if as_json:
        printing.as_json(release_view.release_json(moved))
    else:
        release_view.release_table([moved])
    printing.info(release_view.progress_line(moved) if moved.is_open else release_view.end_line(moved))
    printing.info(f"next: lading {'rollout watch' if moved.is_open else 'history'} {moved.name}")
