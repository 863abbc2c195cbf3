"""``lading diff``: in what two versions or bundles differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading import units
from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.difference_view import difference_table, evidence_rows, summary
from lading.cli.ui.evidence_view import evidence_json
from lading.cli.ui.parameters import BundleType, json_option, open_registry, registry_option
from lading.cli.ui.profile_view import difference_rows, profile_line
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.bundle import Manifest
    from lading.evidence import Evidence
    from lading.profile import Profile
    from lading.registry import Registry

_MOST_FETCHED = 256 * 2**20


@click.command(
    "diff",
    short_help="Show in what two versions differ.",
    cls=Command,
    examples=(
        "lading diff iris:1 iris:2",
        "lading diff iris:live ./iris.bundle --json",
    ),
)
@click.argument("old", type=BundleType(), metavar="DIR|REF")
@click.argument("new", type=BundleType(), metavar="DIR|REF")
@registry_option
@json_option
def diff(old: Ref | Path, new: Ref | Path, registry: str | None, as_json: bool) -> None:
    """Show in what the second version or bundle differs from the first: what callers may notice comes first.

    That is what `lading release` asks `--force` for: other inputs, columns, dtypes, shapes, outputs, labels.
    Environment, metrics, size and evidence follow, and the columns whose profiles differ. Nothing is run.
    """
    from lading.bundle.difference import differences
    from lading.profile.compare import profile_differences

    with open_registry(registry) as opened:
        before, after = _known(opened, old), _known(opened, new)
        profiles = _profiles(opened, (old, before), (new, after))
    changes = differences(before.manifest, after.manifest)
    columns = [] if profiles is None else profile_differences(*profiles)
    if as_json:
        document = {"old": _side(before), "new": _side(after), "differences": changes}
        printing.as_json(document | ({"columns": columns} if profiles is not None else {}))
        return
    rows = evidence_rows(before.evidence, after.evidence)
    if profiles is not None:
        lines = ("profile", profile_line(profiles[0]), profile_line(profiles[1]))
        rows = [*rows, lines, *difference_rows(columns)]
    if before.size_bytes != after.size_bytes:
        sizes = units.size(before.size_bytes), units.size(after.size_bytes)
        rows.insert(0, ("size", *sizes))
    difference_table(before.name, after.name, changes, rows)
    sentence = summary(before.name, after.name, changes)
    printing.info(sentence if profiles is None else f"{sentence}; they were measured on other data")


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of one side: of a version or of a directory."""

    name: str
    digest: str
    manifest: Manifest
    size_bytes: int  # of the files
    evidence: list[Evidence]


def _known(registry: Registry, source: Ref | Path) -> _Known:
    if isinstance(source, Ref):
        version = registry.resolve(source)
        name, digest, manifest = str(version.ref), version.digest, registry.manifest(version)
    else:
        from lading.bundle import Bundle

        bundle = Bundle.open(source)
        name, digest, manifest = str(source), bundle.digest, bundle.manifest
    size_bytes = sum(entry.size for entry in manifest.files.values())
    return _Known(name, digest, manifest, size_bytes, registry.evidence(digest))


def _profiles(registry: Registry, *sides: tuple[Ref | Path, _Known]) -> tuple[Profile, Profile] | None:
    """Return both profiles if they are two, and at hand: a large bundle is not fetched for its profile."""
    from lading.bundle import PROFILE_FILE, Bundle

    files = [known.manifest.files.get(PROFILE_FILE) for _, known in sides]
    if None in files or files[0] == files[1]:
        return None
    if any(isinstance(source, Ref) and known.size_bytes > _MOST_FETCHED for source, known in sides):
        return None
    first, second = (
        (registry.fetch(source) if isinstance(source, Ref) else Bundle.open(source)).profile
        for source, _ in sides
    )
    return None if first is None or second is None else (first, second)


def _side(known: _Known) -> dict[str, Any]:
    cells = [evidence_json(entry, known.name) for entry in known.evidence]
    return {"name": known.name, "digest": known.digest, "size_bytes": known.size_bytes, "evidence": cells}
