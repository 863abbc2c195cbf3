"""``lading list``: the models of the registry, or the versions of one."""

from __future__ import annotations

import click

from lading.cli.ui import printing
from lading.cli.ui.attestation_view import signed_by
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import NameType, json_option, open_registry, registry_option
from lading.cli.ui.runs_view import stored_runs
from lading.cli.ui.version_view import version_json, version_table


@click.command(
    "list",
    short_help="List the models, or the versions of one model.",
    cls=Command,
    examples=(
        "lading list",
        "lading list iris --json",
    ),
)
@click.argument("name", type=NameType(), required=False)
@registry_option
@json_option
def list_models(name: str | None, registry: str | None, as_json: bool) -> None:
    """List the models of the registry, each with its newest version, or all versions of NAME.

    What loading a version executes of its own, and its environment, are read from its bundle.
    """
    with open_registry(registry) as opened:
        if name is not None:
            versions = opened.versions(name)
        else:
            # Versions are listed by number, so the last one is the newest.
            versions = [opened.versions(model)[-1] for model in opened.models()]
        runs = stored_runs(opened, versions)
        signed = signed_by(opened, [version.digest for version in versions])
    signers = [signed.get(version.digest, ()) for version in versions]
    if as_json:
        key = "versions" if name is not None else "models"
        rows = zip(versions, runs, signers, strict=True)
        printing.as_json(
            {
                key: [
                    {**version_json(version), **run.as_json(), "signed_by": keys}
                    for version, run, keys in rows
                ]
            }
        )
    elif versions:
        version_table(versions, runs, signers)
    else:
        printing.info("the registry is empty; `lading push DIR` adds a bundle")
