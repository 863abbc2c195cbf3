"""``lading show``: one version and its evidence."""

from __future__ import annotations

import click

from lading.cli.ui import printing
from lading.cli.ui.attestation_view import attestation_json, attestation_lines
from lading.cli.ui.command import Command
from lading.cli.ui.evidence_view import evidence_json, machine, outcome
from lading.cli.ui.parameters import RefType, json_option, open_registry, registry_option
from lading.cli.ui.runs_view import stored_runs
from lading.cli.ui.version_view import version_fields, version_json
from lading.ref import Ref


@click.command(
    "show",
    short_help="Show one version.",
    cls=Command,
    examples=(
        "lading show iris:1",
        "lading show iris:live --json",
    ),
)
@click.argument("ref", type=RefType())
@registry_option
@json_option
def show(ref: Ref, registry: str | None, as_json: bool) -> None:
    """Show what the registry holds about the version that REF names."""
    with open_registry(registry) as opened:
        version = opened.resolve(ref)
        evidence = opened.evidence(version.digest)
        (runs,) = stored_runs(opened, [version])
        attested = [row.body for row in opened.attachments.of(version.digest, "attestation")]
    if as_json:
        cells = [evidence_json(entry, str(version.ref)) for entry in evidence]
        stated = {**version_json(version), **runs.as_json()}
        attestations = [attestation_json(text) for text in attested]
        printing.as_json({"version": stated, "evidence": cells, "attestations": attestations})
        return
    runtimes = [("evidence", f"{outcome(entry)} on {machine(entry.fingerprint)}") for entry in evidence]
    printing.fields([*version_fields(version, runs), *runtimes, *attestation_lines(attested)])
