"""``lading inspect`` and ``lading verify``: what a bundle says, and whether it holds on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import (
    FILE,
    BundleType,
    json_option,
    open_bundle,
    open_registry,
    registry_option,
)
from lading.errors import NotFound, VerificationError
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.bundle import Bundle, Manifest
    from lading.evidence import Evidence
    from lading.gates import Gates
    from lading.registry import ModelVersion
    from lading.signature import Tensor


@click.command(
    "inspect",
    short_help="Show what a bundle says of itself.",
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
    """Show the manifest of a bundle's directory or of a version in the registry.

    Every rule of the format is checked and nothing is run.
    """
    opened = open_bundle(bundle, registry)
    manifest = opened.manifest
    if as_json:
        printing.as_json({"path": str(opened.path), "digest": opened.digest, "manifest": manifest})
        return
    printing.facts(_facts(opened))
    printing.data("")
    rows = [("input", *_tensor(one)) for one in manifest.signature.inputs]
    rows += [("output", *_tensor(one)) for one in manifest.signature.outputs]
    printing.table(("", "name", "dtype and shape", "columns"), rows)
    printing.data("")
    files = [(name, printing.size(entry.size), entry.sha256[:12]) for name, entry in manifest.files.items()]
    printing.table(("file", "size", "sha256"), files)


@click.command(
    "verify",
    short_help="Prove that a bundle holds on this machine.",
    cls=Command,
    examples=(
        "lading verify iris.bundle",
        "lading verify iris:1 --gates gates.toml",
    ),
)
@click.argument("bundle", type=BundleType(), metavar="DIR|REF")
@click.option("--gates", type=FILE, help="TOML file of limits that the numbers must meet.")
@registry_option
@json_option
def verify(bundle: Ref | Path, gates: Path | None, registry: str | None, as_json: bool) -> None:
    """Run every check of a bundle here; exit 0 only if all hold.

    For a version of the registry the evidence is recorded there (see `lading matrix`); a directory's is
    only shown. Gates that compare with the live version need a registry that has one.
    """
    from lading.gates import Gates

    limits = Gates.read(gates) if gates is not None else None
    evidence = _evidence(bundle, limits, registry)
    if as_json:
        printing.as_json({"holds": evidence.holds, "evidence": evidence})
    else:
        show(evidence)
    if not evidence.holds:
        raise refusal(evidence)
    checks = printing.count(len(evidence.checks), "check")
    printing.remark(f"`{evidence.name}` holds here: {checks} on {_machine(evidence)}")


def show(evidence: Evidence) -> None:
    """Write the checks of evidence as a table."""
    header = ["check", "outcome", "expected", "found"]
    rows = [[one.name, one.outcome, one.expected, one.found] for one in evidence.checks]
    if any(one.hint for one in evidence.checks):
        header.append("hint")
        for row, one in zip(rows, evidence.checks, strict=True):
            row.append(one.hint)
    printing.table(header, rows)


def _evidence(source: Ref | Path, gates: Gates | None, url: str | None) -> Evidence:
    from lading.verify import verify as verify_bundle

    if isinstance(source, Path):
        with printing.busy(f"verifying {source}"):
            return verify_bundle(source, gates=gates, live=_live(_name_in(source), gates, url))
    with open_registry(url) as registry, printing.busy(f"verifying {source}"):
        live = _live(source.name, gates, url)
        evidence = verify_bundle(registry.fetch(source), gates=gates, live=live)
        registry.record(evidence)
    printing.remark("evidence recorded in the registry")
    return evidence


def _name_in(path: Path) -> str | None:
    """Return the model's name if the directory can be opened; verify itself says why it cannot."""
    from lading.bundle import Bundle
    from lading.errors import BundleError

    try:
        return Bundle.open(path).manifest.name
    except BundleError:
        return None


def _live(name: str | None, gates: Gates | None, url: str | None) -> ModelVersion | None:
    """Return the live version where a gate compares with it."""
    if name is None or gates is None or not gates.no_worse_than_live:
        return None
    with open_registry(url) as registry:
        try:
            return registry.resolve(Ref(name, tag="live"))
        except NotFound:  # nothing is live yet: the gate says so itself
            return None


def refusal(evidence: Evidence) -> VerificationError:
    """Make the error that names the first check that failed, and the others."""
    first, *more = evidence.failures
    others = f" and {', '.join(f'`{check.name}`' for check in more)}" if more else ""
    return VerificationError(
        f"`{evidence.name}` does not hold here, check `{first.name}`{others}",
        expected=first.expected or None,
        found=first.found or None,
        hint=first.hint or None,
    )


def _machine(evidence: Evidence) -> str:
    one = evidence.fingerprint
    return f"ONNX Runtime {one.onnxruntime}, Python {one.python}, {one.os} {one.arch}"


def _facts(bundle: Bundle) -> list[tuple[str, str]]:
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
        ("expected from", manifest.expected_from),
        ("tolerance", _limits(manifest)),
        ("trained with", f"{training.framework}, Python {training.python}, {training.platform}"),
        ("commit", training.git_commit or ""),
        ("path", str(bundle.path)),
    ]


def _limits(manifest: Manifest) -> str:
    limits = manifest.tolerance
    return f"rtol {limits.rtol:g}, atol {limits.atol:g}, {limits.max_label_flips} label flips"


def _tensor(tensor: Tensor) -> tuple[str, str, str]:
    columns: Any = tensor.columns
    shown = ", ".join(columns[:8]) + (f", … ({len(columns)})" if len(columns) > 8 else "")
    return tensor.name, str(tensor), shown
