"""``lading image sign``: an image in a registry is signed as cosign signs."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from lading.cli.ui import printing
from lading.cli.ui.attestation_view import author_of, key_option, signing_options
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import json_option, reason_option


@click.command(
    "sign",
    short_help="Sign an image in a registry for cosign.",
    cls=Command,
    examples=("lading image sign registry.example.com/iris:3 --key ci.pem",),
)
@click.argument("image", metavar="IMAGE")
@key_option
@signing_options
@reason_option
@json_option
def sign(image: str, as_json: bool, **options: Any) -> None:
    """Sign the image that IMAGE names in its registry, and attest which bundles are in it.

    `cosign verify --key KEY.pub --insecure-ignore-tlog IMAGE` verifies the signature, and admission
    controllers of Kubernetes do. It is kept under the tag that cosign reads, and as a referrer of the image.
    """
    from lading.image.references import remote_image
    from lading.image.signing import sign_image

    author = author_of(options["key_file"], options["passphrase_file"], options["actor"], options["reason"])
    named = remote_image(image)
    with contextlib.closing(named.repository):
        digest = sign_image(named, author)
    if as_json:
        printing.as_json({"image": named.where, "digest": digest, "key": author.key.public.id})
    else:
        printing.data(digest)
    printing.info(f"signed `{named.where}`, {digest}")
