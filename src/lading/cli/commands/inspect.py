"""``lading inspect``: what a bundle states about itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lading import units
from lading.cli.ui import printing
from lading.cli.ui.attestation_view import attestation_json, attestation_lines, attested_texts
from lading.cli.ui.checks_view import checks_table
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import BundleType, json_option, open_bundle, registry_option
from lading.cli.ui.profile_view import profile_line, profile_table
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.bundle import Bundle, Manifest
    from lading.signature import Tensor

_MOST_COLUMNS = 8


@click.command(
    "inspect",
    short_help="Show what a bundle states about itself.",
    cls=Command,
    examples=(
        "lading inspect iris.bundle",
        "lading inspect iris:1 --json",
    ),
)
@click.argument("bundle", type=BundleType(), metavar="DIR|REF")
@registry_option
@json_option
def inspect(bundle: Ref | Path, registry: str | None, as_json: bool) -> None:
    """Show the manifest of a bundle in a directory or in the registry.

    Every rule of the format is checked; nothing is run.
    """
    opened = open_bundle(bundle, registry)
    manifest = opened.manifest
    attested = attested_texts(bundle, opened.digest, registry)
    if as_json:
        document: dict[str, object] = {
            "path": str(opened.path),
            "digest": opened.digest,
            "manifest": manifest,
        }
        if opened.profile is not None:
            document["profile"] = opened.profile
        document["attestations"] = [attestation_json(text) for text in attested]
        printing.as_json(document)
        return
    printing.fields([*_fields(opened), *attestation_lines(attested)])
    printing.data("")
    rows = [("input", *_tensor(tensor)) for tensor in manifest.signature.inputs]
    rows += [("output", *_tensor(tensor)) for tensor in manifest.signature.outputs]
    printing.table(("", "name", "dtype and shape", "columns"), rows)
    if opened.profile is not None:
        printing.data("")
        profile_table(opened.profile)
    checks_table(opened)
    printing.data("")
    files = [(name, units.size(entry.size), entry.sha256[:12]) for name, entry in manifest.files.items()]
    printing.table(("file", "size", "sha256"), files)


_OWN: dict[bool | str, str] = {
    False: "nothing",
    "code": "code: served only with `--allow code`",
    "pickle": "a pickle: served only with `--allow pickle`",
}


def _fields(bundle: Bundle) -> list[tuple[str, str]]:
    manifest = bundle.manifest
    training = manifest.training
    return [
        ("name", manifest.name),
        ("digest", bundle.digest),
        ("purpose", manifest.purpose),
        ("owner", manifest.owner),
        ("description", manifest.description),
        ("labels", ", ".join(f"{value}={label}" for value, label in manifest.labels.items())),
        ("metrics", ", ".join(f"{name}={value:g}" for name, value in manifest.metrics.items())),
        ("golden rows", str(bundle.samples().rows)),
        ("profile", profile_line(bundle.profile) if bundle.profile is not None else ""),
        ("slices", ", ".join(manifest.slices)),
        ("expected from", manifest.expected_from),
        ("tolerance", _tolerance(manifest)),
        ("trained with", training.origin),
        ("commit", training.git_commit or ""),
        ("logged by", manifest.lineage.training_run if manifest.lineage is not None else ""),
        *_python_fields(bundle),
        ("path", str(bundle.path)),
    ]


def _python_fields(bundle: Bundle) -> list[tuple[str, str]]:
    """Return what a bundle that runs in Python states of its code and its environment."""
    manifest = bundle.manifest
    if manifest.runtime != "python":
        return []
    pins = bundle.lock().versions
    packages = ", ".join(f"{name} {version}" for name, version in pins.items())
    return [
        ("runs", f"{manifest.entry} in Python {manifest.python}"),
        ("steps", ", ".join(manifest.steps)),
        ("runs of its own", _OWN[manifest.executes]),
        ("stored as", ", ".join(manifest.formats)),
        ("environment", manifest.lock_digest),
        ("packages", packages),
    ]


def _tolerance(manifest: Manifest) -> str:
    tolerance = manifest.tolerance
    return f"rtol {tolerance.rtol:g}, atol {tolerance.atol:g}, {tolerance.max_label_flips} label flips"


def _tensor(tensor: Tensor) -> tuple[str, str, str]:
    columns = tensor.columns
    more = f", … ({len(columns)})" if len(columns) > _MOST_COLUMNS else ""
    return tensor.name, str(tensor), ", ".join(columns[:_MOST_COLUMNS]) + more
