"""How versions of the registry are shown. Reads no registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lading import units
from lading.cli.ui import printing
from lading.cli.ui.runs_view import RUNS_HEADER, Runs

if TYPE_CHECKING:
    from lading.registry import ModelVersion

_HEADER = ("ref", "tags", "purpose", "owner", "size", *RUNS_HEADER, "pushed", "digest")


def version_json(version: ModelVersion) -> dict[str, Any]:
    """Return a version as JSON output has it."""
    import msgspec

    return {"ref": str(version.ref), **msgspec.structs.asdict(version)}


def version_table(
    versions: Sequence[ModelVersion], runs: Sequence[Runs], signers: Sequence[Sequence[str]] = ()
) -> None:
    """Print one row for each version and what it runs; and the keys that signed it, if any has."""
    rows = [_row(*pair) for pair in zip(versions, runs, strict=True)]
    if any(signers):
        header = (*_HEADER, "signed by")
        signed = [", ".join(key[:8] for key in keys) for keys in signers]
        printing.table(header, [(*row, keys) for row, keys in zip(rows, signed, strict=True)])
        return
    printing.table(_HEADER, rows)


def version_fields(version: ModelVersion, runs: Runs) -> list[tuple[str, str]]:
    """Return everything about a version as names and values."""
    return [
        ("ref", str(version.ref)),
        ("digest", version.digest),
        ("tags", ", ".join(version.tags)),
        ("purpose", version.purpose),
        ("owner", version.owner),
        ("description", version.description),
        ("metrics", ", ".join(f"{name}={value:g}" for name, value in version.metrics.items())),
        ("size", units.size(version.size_bytes)),
        *zip(RUNS_HEADER, runs.row, strict=True),
        ("pushed", version.pushed_at),
    ]


def _row(version: ModelVersion, runs: Runs) -> tuple[str, ...]:
    return (
        str(version.ref),
        ", ".join(version.tags),
        version.purpose,
        version.owner,
        units.size(version.size_bytes),
        *runs.row,
        printing.short_time(version.pushed_at)[:16],  # The minute is enough.
        units.short_digest(version.digest),
    )
