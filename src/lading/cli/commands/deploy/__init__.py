"""``lading deploy``: the group of commands that write what runs a model elsewhere."""

from __future__ import annotations

import click

from lading.cli.commands.deploy.kubernetes import kubernetes
from lading.cli.commands.deploy.ray import ray
from lading.cli.ui.command import Group


@click.group(
    "deploy",
    short_help="Write what runs a model on Kubernetes or Ray.",
    cls=Group,
    examples=(
        "lading deploy kubernetes iris:3 --pattern in-image --image registry/iris@sha256:…",
        "lading deploy ray iris:3",
    ),
)
def deploy() -> None:
    """Write what runs models elsewhere: manifests for Kubernetes, a config for Ray Serve."""


for _command in (kubernetes, ray):
    deploy.add_command(_command)
