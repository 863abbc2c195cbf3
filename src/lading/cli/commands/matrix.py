"""``lading matrix``: which bundles hold on which runtimes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.evidence_view import evidence_json, machine, outcome
from lading.cli.ui.parameters import NameType, json_option, open_registry, registry_option
from lading.cli.ui.runs_view import RUNS_HEADER, stored_runs

if TYPE_CHECKING:
    from lading.evidence import Evidence

_NO_EVIDENCE = "–"


@click.command(
    "matrix",
    short_help="Show which bundles hold on which runtimes.",
    cls=Command,
    examples=(
        "lading matrix",
        "lading matrix iris --json",
    ),
)
@click.argument("name", type=NameType(), required=False)
@registry_option
@json_option
def matrix(name: str | None, registry: str | None, as_json: bool) -> None:
    """Show the evidence of every version, or of those of NAME, for each runtime it was verified on.

    Beside it stand what loading the version executes of its own, and its environment if it runs in Python.
    """
    with open_registry(registry) as opened:
        names = [name] if name is not None else opened.models()
        versions = [version for model in names for version in opened.versions(model)]
        rows = [(version, opened.evidence(version.digest)) for version in versions]
        refs = [str(version.ref) for version in versions]
        runs = dict(zip(refs, stored_runs(opened, versions), strict=True))
    if as_json:
        cells = [evidence_json(entry, str(version.ref)) for version, evidence in rows for entry in evidence]
        stated = {ref: run.as_json() for ref, run in runs.items()}
        printing.as_json({"bundles": list(runs), "runs": stated, "evidence": cells})
        return
    # One column per runtime, in the order in which they first appear.
    runtimes = {entry.fingerprint.id: entry.fingerprint for _, evidence in rows for entry in evidence}
    if not runtimes:
        ref = versions[-1].ref if versions else "NAME:1"
        printing.info(
            f"no evidence in this registry yet; `lading verify {ref}` records it "
            "(that of a directory is only shown)"
        )
        return
    header = ["ref", *RUNS_HEADER, *(machine(fingerprint) for fingerprint in runtimes.values())]
    outcomes = [_outcomes(evidence, list(runtimes)) for _, evidence in rows]
    table = zip(runs.items(), outcomes, strict=True)
    printing.table(header, [[ref, *run.row, *cells] for (ref, run), cells in table])


def _outcomes(evidence: list[Evidence], runtimes: list[str]) -> list[str]:
    outcomes = {entry.fingerprint.id: outcome(entry) for entry in evidence}
    return [outcomes.get(runtime, _NO_EVIDENCE) for runtime in runtimes]
