"""``lading image``: the group of commands that make images which serve models, and look after them."""

from __future__ import annotations

import click

from lading.cli.commands.image.base import base
from lading.cli.commands.image.build import build
from lading.cli.commands.image.inspect import inspect
from lading.cli.commands.image.list import list_images
from lading.cli.commands.image.prune import prune
from lading.cli.commands.image.sign import sign
from lading.cli.commands.image.verify import verify
from lading.cli.ui.command import Group


@click.group(
    "image",
    short_help="Build and manage images that serve models.",
    cls=Group,
    examples=(
        "lading image build iris:3 --base registry.example.com/lading:1 --to registry.example.com/iris:3",
        "lading image inspect registry.example.com/iris:3",
    ),
)
def image() -> None:
    """Build and manage images that serve models; no container engine is needed.

    IMAGE is `host/repository:tag` in a registry, `oci:FOLDER:TAG` in an OCI layout, or
    `docker-archive:FILE` as `docker save` writes and `docker load` reads it.
    """


for _command in (build, base, inspect, list_images, sign, prune, verify):
    image.add_command(_command)
