"""``lading tag``: move a tag to a version, or remove it."""

from __future__ import annotations

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import RefType, json_option, open_registry, registry_option
from lading.cli.ui.tag_moves import moved_tag, tagged
from lading.cli.ui.version_view import version_json
from lading.errors import UsageError
from lading.ref import Ref, check_tag


@click.command(
    "tag",
    short_help="Move a tag to a version, or remove it.",
    cls=Command,
    examples=(
        "lading tag iris:2 stable",
        "lading tag iris stable --remove",
    ),
)
@click.argument("ref", type=RefType())
@click.argument("tag")
@click.option("--remove", is_flag=True, help="Remove the tag from the model that REF names.")
@registry_option
@json_option
def tag(ref: Ref, tag: str, remove: bool, registry: str | None, as_json: bool) -> None:
    """Move TAG to the version that REF names.

    A bare name is refused, because what it means may change. Callers and servers may name the tag, so what
    they may notice of the move is shown. `live` and `candidate` belong to releases and are refused.
    """
    check_tag(tag)
    if not remove and ref == Ref(ref.name):
        raise UsageError(
            f"tag `{tag}` of `{ref}`",
            expected=f"a version, as in `{ref.name}:2`",
            found="none",
            hint=f"`lading list {ref.name}` lists the versions",
        )
    if remove and ref != Ref(ref.name):
        raise UsageError(
            f"reference `{ref}`",
            expected=f"`{ref.name}` alone, because a tag belongs to the model",
            found=f"`{ref}`",
        )
    name = f"{ref.name}:{tag}"
    with open_registry(registry) as opened:
        before = tagged(opened, ref.name, tag)
        version = None if remove else opened.tag(ref, tag)
        if remove:
            opened.untag(ref.name, tag)
        notes = moved_tag(opened, tag, before, version) if version is not None else []
    if version is None:
        result = {"name": ref.name, "tag": tag, "removed": True}
        line, notes = name, [f"`{name}` is removed" + (f"; it was `{before.ref}`" if before else "")]
    else:
        result = version_json(version)
        line = str(version.ref)
    if as_json:
        printing.as_json(result)
    else:
        printing.data(line)
    for note in notes:
        printing.info(note)
