"""``lading key new``: a private key that signs, and its public half."""

from __future__ import annotations

from pathlib import Path

import click

from lading.cli.ui import printing
from lading.cli.ui.attestation_view import key_fields, key_json
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import FILE, json_option


@click.command(
    "new",
    short_help="Make a private key and its public half.",
    cls=Command,
    examples=("lading key new ci.pem", "lading key new release.pem --kind ed25519 --passphrase-file secret"),
)
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.pem")
@click.option(
    "--kind",
    type=click.Choice(["p256", "p384", "ed25519"]),
    default="p256",
    show_default=True,
    help="model-signing verifies the first two; all three are lading's and cosign's.",
)
@click.option("--passphrase-file", type=FILE, help="File whose first line encrypts the private key.")
@json_option
def new(path: Path, kind: str, passphrase_file: Path | None, as_json: bool) -> None:
    """Write a private key to FILE.pem, which only you can read, and its public half to FILE.pub.

    Anyone who has the private key can sign as you: it belongs on the machine that signs, and the public half
    on those that verify. Nothing is overwritten.
    """
    from lading.trust.keys import new_key, public_path

    passphrase = None
    if passphrase_file is not None:
        # The line end is not part of it, whichever editor wrote the file; blanks are.
        passphrase = passphrase_file.read_bytes().split(b"\n", 1)[0].rstrip(b"\r")
    public = new_key(kind, path, passphrase)  # type: ignore[arg-type]  # click knows the choices alone
    beside = public_path(path)
    if as_json:
        printing.as_json({"private": str(path), "public": str(beside), **key_json(public)})
    else:
        printing.fields([("private", str(path)), ("public", str(beside)), *key_fields(public)])
    printing.info(f"next: lading sign DIR --key {path}, and name `{beside}` in a trust policy")
