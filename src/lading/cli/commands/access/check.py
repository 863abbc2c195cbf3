"""``lading access check``: read an access file as a server would, and list who may do what."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.access import ROLES, Grant
from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import json_option
from lading.clock import iso_time

if TYPE_CHECKING:
    from lading.access.file import AccessFile


@click.command(
    "check",
    short_help="Check an access file, and list who may do what.",
    cls=Command,
    examples=("lading access check access.toml", "lading access check access.toml --json"),
)
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def check(file: Path, as_json: bool) -> None:
    """Read FILE as a server would, and list its callers; the addresses of issuers are not asked."""
    from lading.access.file import AccessFile
    from lading.access.libraries import check_libraries

    known = AccessFile.read(file)
    check_libraries(known)
    rows = list(_rows(known))
    if as_json:
        printing.as_json({"callers": rows, "open_health": known.open_health})
        return
    for row in rows:
        words = [row["kind"], row["name"], ",".join(row["roles"]), ",".join(row["models"])]
        words += [f"until {row['expires']}"] if row["expires"] else []
        printing.data("  ".join([*words, *row["limits"]]))


def _rows(known: AccessFile) -> Any:
    for kind, entries in (("key", known.keys), ("certificate", known.certificates)):
        for entry in entries:
            yield _row(kind, entry.name, entry.grant, entry.expires_at, entry.limits)
    for issuer in known.issuers:
        for grant in issuer.grants:
            name = f"{issuer.issuer} {grant.claim}={grant.value}"
            yield _row("token", name, grant.grant, math.inf, grant.limits)


def _row(kind: str, name: str, grant: Grant, expires_at: float, limits: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": name,
        "roles": [role for role, bit in ROLES.items() if grant.roles & bit],
        "models": list(grant.models),
        "expires": "" if math.isinf(expires_at) else iso_time(expires_at),
        "limits": [limit.text for limit in limits],
    }
