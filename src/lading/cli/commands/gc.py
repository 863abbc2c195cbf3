"""``lading gc``: free the space of what no version refers to, and of environments beyond their limit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from lading import units
from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import json_option, open_registry, registry_option

if TYPE_CHECKING:
    from lading.registry import Registry
    from lading.registry.records import Removed

_BECAUSE = {
    "blob": "no version names it",
    "unpacked bundle": "no version and no server names it",
    "temporary file": "a process that ended left it",
}
"""Why something of a kind is removed that does not say so itself."""


@click.command(
    "gc",
    short_help="Remove what no version refers to.",
    cls=Command,
    examples=(
        "lading gc --dry-run",
        "lading gc",
    ),
)
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.option(
    "--older-than-s",
    type=click.FloatRange(min=0),
    metavar="NUMBER",
    default=3600,
    show_default=True,
    help="Keep anything younger, since a push may be in progress.",
)
@registry_option
@json_option
def gc(dry_run: bool, older_than_s: float, registry: str | None, as_json: bool) -> None:
    """Remove blobs that no version refers to, files of interrupted pushes, and stale caches.

    Of the environments of models in Python, the least recently used are removed until all of them together
    take at most LADING_ENVIRONMENTS_MAX_BYTES; never one that a process uses.
    """
    with open_registry(registry) as opened, printing.spinner("collecting"):
        report = opened.gc(dry_run=dry_run, older_than_s=older_than_s)
        # After the registry: an unpacked bundle that goes is no longer named as a user.
        environments = _environments(opened, before=time.time() - older_than_s, dry_run=dry_run)
    removed = [*report.removed, *environments]
    freed_bytes = sum(item.size_bytes for item in removed)
    if as_json:
        summary = {"dry_run": dry_run, "freed_bytes": freed_bytes, "kept": report.kept}
        printing.as_json({**summary, "removed": removed})
    elif removed:
        rows = [(item.kind, item.name, units.size(item.size_bytes), _because(item)) for item in removed]
        printing.table(("kind", "name", "size", "because"), rows)
    size = units.size(freed_bytes)
    done, freed = ("would remove", f"{size} to free") if dry_run else ("removed", f"{size} freed")
    printing.info(f"{done} {len(removed)}, kept {report.kept}, {freed}")


def _environments(registry: Registry, *, before: float, dry_run: bool) -> list[Removed]:
    """Remove environments beyond the limit of this host, and say of each who had use of it."""
    from lading.clock import iso_time
    from lading.registry.records import Removed
    from lading.runtime.python.environments import environments_of_host
    from lading.settings import store_settings

    most = store_settings().environments_max_bytes
    gone = environments_of_host().gc(max_bytes=most, before=before, dry_run=dry_run)
    # Asked only if something goes: it reads a file of each unpacked bundle.
    users = registry.environments() if gone else {}
    removed = []
    for environment in gone:
        names = ", ".join(f"`{name}`" for name in users.get(environment.digest, ())) or "no bundle known here"
        used = printing.short_time(iso_time(environment.used_at))
        because = f"all take over {units.size(most)}; last used {used}, by {names}"
        name = f"{environment.digest}-py{environment.python}"
        removed.append(Removed("environment", name, environment.size_bytes, because))
    return removed


def _because(item: Removed) -> str:
    return item.because or _BECAUSE.get(item.kind, "it is older than what is kept")
