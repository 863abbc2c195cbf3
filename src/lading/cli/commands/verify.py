"""``lading verify``: whether a bundle holds on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.evidence_view import report_evidence
from lading.cli.ui.parameters import (
    FILE,
    BundleType,
    allow_option,
    json_option,
    open_registry,
    registry_option,
    timeout_option,
)
from lading.errors import NotFound, RegistryUnavailable
from lading.ref import Ref

if TYPE_CHECKING:
    from lading.evidence import Evidence
    from lading.gates import Gates
    from lading.registry import ModelVersion, Registry


@click.command(
    "verify",
    short_help="Verify that a bundle holds on this machine.",
    cls=Command,
    examples=(
        "lading verify iris.bundle",
        "lading verify iris:1 --gates gates.toml",
    ),
)
@click.argument("bundle", type=BundleType(), metavar="DIR|REF")
@click.option("--gates", type=FILE, help="TOML file of limits that the numbers must meet.")
@timeout_option(600.0, "Seconds that running the model may take in all.")
@allow_option
@registry_option
@json_option
def verify(bundle: Ref | Path, gates: Path | None, as_json: bool, **options: Any) -> None:
    """Run every check of a bundle here; exit 0 only if all of them pass.

    The model runs in a process of its own: one that crashes or does not end is a check that failed.

    The evidence of a version is recorded in the registry (see `lading matrix`), if that can be written; that
    of a directory is only shown. Gates that compare with the live version need a registry that has one.
    """
    from lading.gates import Gates

    limits = Gates.read(gates) if gates is not None else None
    evidence = _evidence(bundle, limits, **options)
    report_evidence(evidence, as_json=as_json)
    made = [check for check in evidence.checks if check.outcome != "skipped"]
    skipped = len(evidence.checks) - len(made)
    checks = printing.plural(len(made), "check") + (f", {skipped} skipped," if skipped else "")
    printing.info(f"`{evidence.name}` holds here: {checks} on {_machine(evidence)}")


def _evidence(
    source: Ref | Path, gates: Gates | None, timeout_s: float, registry: str | None, allow: str | None
) -> Evidence:
    from lading.runtime.python.host import this_host
    from lading.verify import verify as verify_bundle

    python, url = this_host(allow), registry
    if isinstance(source, Path):
        with printing.spinner(f"verifying {source}"):
            live = _live(_name_in(source), gates, url)
            return verify_bundle(source, gates=gates, live=live, timeout_s=timeout_s, python=python)
    with open_registry(url) as opened, printing.spinner(f"verifying {source}"):
        live = _live(source.name, gates, url)
        bundle = opened.fetch(source)
        evidence = verify_bundle(bundle, gates=gates, live=live, timeout_s=timeout_s, python=python)
        _record(opened, evidence)
    return evidence


def _record(registry: Registry, evidence: Evidence) -> None:
    """Record the evidence; where that is not possible, say so: the question was whether the bundle holds."""
    try:
        registry.record(evidence)
    except RegistryUnavailable as error:
        printing.info(f"note: the evidence is not recorded: {error.message}")
    else:
        printing.info("evidence recorded in the registry")


def _name_in(path: Path) -> str | None:
    """Return the model's name, or None if the directory is no bundle: `verify` itself reports why."""
    from lading.bundle import Bundle
    from lading.errors import BundleError

    try:
        return Bundle.open(path).manifest.name
    except BundleError:
        return None


def _live(name: str | None, gates: Gates | None, url: str | None) -> ModelVersion | None:
    """Return the live version if a gate compares with it."""
    if name is None or gates is None or not gates.no_worse_than_live:
        return None
    with open_registry(url) as registry:
        try:
            return registry.resolve(Ref(name, tag="live"))
        except NotFound:  # Nothing is live yet; the gate reports that.
            return None


def _machine(evidence: Evidence) -> str:
    here = evidence.fingerprint
    return f"ONNX Runtime {here.onnxruntime}, Python {here.python}, {here.os} {here.arch}"
