"""``lading push``: a bundle becomes a version of the registry."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lading import units
from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import (
    DirectoryType,
    json_option,
    open_registry,
    policy_option,
    registry_option,
)
from lading.cli.ui.tag_moves import moved_tag, tagged
from lading.cli.ui.version_view import version_json
from lading.errors import NotFound
from lading.ref import Ref, check_tag

if TYPE_CHECKING:
    from lading.bundle import Bundle
    from lading.registry import Registry


@click.command(
    "push",
    short_help="Push a bundle to the registry as a new version.",
    cls=Command,
    examples=(
        "lading push iris.bundle",
        "lading push iris.bundle --tag stable",
    ),
)
@click.argument("directory", type=DirectoryType(), metavar="DIR")
@click.option("--tag", "tags", multiple=True, help="Tag to move to this version; repeatable.")
@policy_option
@registry_option
@json_option
def push(
    directory: Path, tags: tuple[str, ...], policy: str | None, registry: str | None, as_json: bool
) -> None:
    """Push the bundle in DIR to the registry and print its reference.

    The format and every digest are checked. Nothing is run, because every server proves the bundle again
    before serving it. What was signed beside DIR goes along. Pushing the same bundle again makes no new
    version: that of the first time is printed.
    """
    from lading.bundle import Bundle

    # Before anything is sent: an invalid tag would be refused only after the upload.
    for tag in tags:
        check_tag(tag)
    bundle = Bundle.open(directory)
    name = bundle.manifest.name
    with open_registry(registry, policy) as opened, printing.progress_bar(f"pushing {name}") as on_progress:
        new = _is_new(opened, bundle)
        # Before the push, which moves them.
        before = [tagged(opened, name, tag) for tag in tags]
        version = opened.push(bundle, tags=tags, on_progress=on_progress)
        moves = [moved_tag(opened, tag, was, version) for tag, was in zip(tags, before, strict=True)]
    ref = str(version.ref)
    if as_json:
        printing.as_json({**version_json(version), "new": new})
    else:
        printing.data(ref)
    size = units.size(version.size_bytes)
    if new:
        printing.info(f"pushed `{ref}`, {size}, {version.digest}")
    else:
        pushed = f"pushed {printing.short_time(version.pushed_at)} UTC"
        printing.info(f"exists already: `{ref}`, {pushed}, {size}, {version.digest}")
    for line in itertools.chain.from_iterable(moves):
        printing.info(line)
    allow = printing.allow_flag(bundle.manifest.executes)
    printing.info(f"next: lading verify {ref}{allow} && lading serve {ref}{allow}")


def _is_new(registry: Registry, bundle: Bundle) -> bool:
    try:
        registry.resolve(Ref(bundle.manifest.name, digest=bundle.digest))
    except NotFound:
        return True
    return False
