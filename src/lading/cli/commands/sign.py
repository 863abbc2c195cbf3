"""``lading sign``: a packer vouches for every byte of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lading.cli.ui import printing
from lading.cli.ui.attestation_view import (
    attestation_json,
    author_of,
    keep,
    key_option,
    signing_options,
    stated_bundle,
)
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import BundleType, json_option, reason_option, registry_option
from lading.ref import Ref


@click.command(
    "sign",
    short_help="Sign a bundle.",
    cls=Command,
    examples=(
        "lading sign iris.bundle --key ci.pem",
        "lading sign iris:3 --key ci.pem --passphrase-file secret",
        "lading sign iris.bundle --key ci.pem --output model.sig",
    ),
)
@click.argument("bundle", type=BundleType(), metavar="DIR|REF")
@key_option
@signing_options
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the signature to a file of its own as well, as `model_signing verify` reads it.",
)
@reason_option
@registry_option
@json_option
def sign(bundle: Ref | Path, registry: str | None, as_json: bool, **options: Any) -> None:
    """Sign the bundle in DIR, or the version that REF names: every file of it, and its digest.

    The signature of a directory is kept beside it, in DIR.attestations.jsonl, and goes along with
    `lading push`; that of a version is kept in the registry. The bundle itself stays as it is. It has the
    form of OpenSSF model-signing, which verifies it with P-256 and P-384 keys.
    """
    from lading.trust.signing import sign_bundle

    key_file, output = options["key_file"], options["output"]
    author = author_of(key_file, options["passphrase_file"], options["actor"], options["reason"])
    manifest, digest, title = stated_bundle(bundle, registry)
    text = sign_bundle(manifest, digest, author)
    if output is not None:
        output.write_text(f"{text}\n")
    where = keep(bundle, digest, [text], registry, author.actor)
    if as_json:
        printing.as_json({"bundle": digest, "kept_in": where, **attestation_json(text)})
    else:
        printing.data(author.key.public.id)
    printing.info(f"signed `{title}`, {digest}, kept in `{where}`")
