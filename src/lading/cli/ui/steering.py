"""One move of a release by hand, as `lading rollout promote`, `pause` and `resume` make it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lading.cli.ui import printing, release_view
from lading.cli.ui.current_release import current_release
from lading.cli.ui.parameters import open_registry

if TYPE_CHECKING:
    from lading.release import Release
    from lading.rollout import Move


def apply_by_hand(
    name: str,
    url: str | None,
    choose: Callable[[Release], Move | None],
    *,
    number: int | None = None,
    as_json: bool,
) -> None:
    """Apply the move that `choose` returns for the current release of a model, and print the result.

    `number` is that of the release which is meant. If `choose` returns None, nothing is left to do.
    """
    from lading.registry.releases import check_number
    from lading.rollout import apply

    with open_registry(url) as registry:
        release = current_release(registry, name)
        check_number(name, release, number)
        move = choose(release)
        moved = release if move is None else apply(registry, release, move)
    print_moved(moved, as_json=as_json)
    if move is None:
        printing.info("nothing was changed")


def print_moved(moved: Release, *, as_json: bool) -> None:
    """Print a release after a move by hand, and what to look at next."""
    if as_json:
        printing.as_json(release_view.release_json(moved))
    else:
        release_view.release_table([moved])
    printing.info(release_view.progress_line(moved) if moved.is_open else release_view.end_line(moved))
    printing.info(f"next: lading {'rollout watch' if moved.is_open else 'history'} {moved.name}")
