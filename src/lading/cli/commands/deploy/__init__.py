"""``lading deploy``: the group of commands that write what runs a model elsewhere."""

from __future__ import annotations

import click

from lading.cli.commands.deploy.kubernetes import kubernetes
from lading.cli.ui.command import Group


@click.group(
    "deploy",
    short_help="Write manifests that run a model elsewhere.",
    cls=Group,
    examples=("lading deploy kubernetes iris:3 --pattern in-image --image registry/iris@sha256:…",),
)
def deploy() -> None:
    """Write manifests that run a version of the registry elsewhere."""


deploy.add_command(kubernetes)
