"""``lading push pull list show tag remove gc matrix``: what is kept, and what is known of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import (
    DirectoryType,
    NameType,
    RefType,
    json_option,
    open_registry,
    registry_option,
)
from lading.errors import BundleError, UsageError
from lading.ref import Ref, check_tag

if TYPE_CHECKING:
    from lading.bundle import Bundle
    from lading.evidence import Evidence, Fingerprint
    from lading.registry import ModelVersion, Registry


@click.command(
    "push",
    short_help="Put a bundle into the registry as a new version.",
    cls=Command,
    examples=(
        "lading push iris.bundle",
        "lading push iris.bundle --tag stable",
    ),
)
@click.argument("directory", type=DirectoryType(), metavar="DIR")
@click.option("--tag", "tags", multiple=True, help="Tag to move to this version; may be repeated.")
@registry_option
@json_option
def push(directory: Path, tags: tuple[str, ...], registry: str | None, as_json: bool) -> None:
    """Put the bundle in DIR into the registry and print its reference.

    The format and every digest are checked; nothing is run, since every server proves the bundle again
    where it loads it. Pushing the same bundle again gives the same version.
    """
    from lading.bundle import Bundle

    for tag in tags:
        check_tag(tag)
    bundle = Bundle.open(directory)
    with open_registry(registry) as opened, printing.moving(f"pushing {bundle.manifest.name}") as told:
        version = opened.push(bundle, tags=tags, on_progress=told)
    ref = str(version.ref)
    if as_json:
        printing.as_json(_shown(version))
    else:
        printing.data(ref)
    printing.remark(f"pushed `{ref}`, {printing.size(version.size_bytes)}, {version.digest}")
    printing.remark(f"next: lading verify {ref} && lading serve {ref}")


@click.command(
    "pull",
    short_help="Write a version's bundle into a directory.",
    cls=Command,
    examples=("lading pull iris:1 --to ./iris.bundle",),
)
@click.argument("ref", type=RefType())
@click.option(
    "--to",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Directory to make. If it is there, it must be that very bundle.",
)
@registry_option
@json_option
def pull(ref: Ref, to: Path, registry: str | None, as_json: bool) -> None:
    """Write the bundle that REF names into a directory of its own and print that.

    A directory that holds that very bundle already, whole, is left as it is: an init container may run again,
    and where REF is a digest it needs no registry for that.
    """
    bundle = _there(ref, to) or _pulled(ref, to, registry)
    if as_json:
        printing.as_json({"path": str(bundle.path), "name": bundle.manifest.name, "digest": bundle.digest})
    else:
        printing.data(str(bundle.path))
    printing.remark(f"pulled `{ref}`, {bundle.digest}")


@click.command(
    "list",
    short_help="List the models, or the versions of one.",
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
    """List the models of the registry, each with its newest version, or all versions of NAME."""
    with open_registry(registry) as opened:
        if name is not None:
            versions = opened.versions(name)
        else:
            versions = [opened.versions(model)[-1] for model in opened.models()]
    if as_json:
        printing.as_json({"versions" if name is not None else "models": [_shown(one) for one in versions]})
        return
    if not versions:
        printing.remark("the registry is empty; `lading push DIR` fills it")
        return
    printing.table(
        ("ref", "tags", "purpose", "owner", "size", "pushed", "digest"), [_row(one) for one in versions]
    )


@click.command(
    "show",
    short_help="Show one version.",
    cls=Command,
    examples=(
        "lading show iris:1",
        "lading show iris:live --json",
    ),
)
@click.argument("ref", type=RefType())
@registry_option
@json_option
def show(ref: Ref, registry: str | None, as_json: bool) -> None:
    """Show what the registry knows of the version that REF names."""
    with open_registry(registry) as opened:
        version = opened.resolve(ref)
        evidence = opened.evidence(version.digest)
    if as_json:
        measured = [_cell(one, str(version.ref)) for one in evidence]
        printing.as_json({"version": _shown(version), "evidence": measured})
        return
    printing.facts(
        [
            ("ref", str(version.ref)),
            ("digest", version.digest),
            ("tags", ", ".join(version.tags)),
            ("purpose", version.purpose),
            ("owner", version.owner),
            ("description", version.description),
            ("metrics", ", ".join(f"{name}={value:g}" for name, value in version.metrics.items())),
            ("size", printing.size(version.size_bytes)),
            ("pushed", version.pushed_at),
            *(("evidence", f"{_outcome(one)} on {_machine(one.fingerprint)}") for one in evidence),
        ]
    )


@click.command(
    "tag",
    short_help="Move a tag to a version, or take it away.",
    cls=Command,
    examples=(
        "lading tag iris:2 stable",
        "lading tag iris stable --remove",
    ),
)
@click.argument("ref", type=RefType())
@click.argument("tag")
@click.option("--remove", "gone", is_flag=True, help="Take the tag away from the model that REF names.")
@registry_option
@json_option
def tag(ref: Ref, tag: str, gone: bool, registry: str | None, as_json: bool) -> None:
    """Move TAG to the version that REF names.

    `live` and `candidate` belong to releases and are refused.
    """
    check_tag(tag)
    with open_registry(registry) as opened:
        if gone:
            _untag(opened, ref, tag)
            shown, said = f"{ref.name}:{tag}", {"name": ref.name, "tag": tag, "removed": True}
        else:
            version = opened.tag(ref, tag)
            shown, said = str(version.ref), _shown(version)
    if as_json:
        printing.as_json(said)
    else:
        printing.data(shown)
    printing.remark(f"`{ref.name}:{tag}` {'is gone' if gone else f'is now `{shown}`'}")


@click.command("remove", short_help="Forget a version.", cls=Command, examples=("lading remove iris:1",))
@click.argument("ref", type=RefType())
@registry_option
@json_option
def remove(ref: Ref, registry: str | None, as_json: bool) -> None:
    """Forget the version that REF names; its number is never used again.

    A version that a tag, one of its model's last releases or a running server names is refused. `lading gc`
    gives the space back.
    """
    with open_registry(registry) as opened:
        version = opened.resolve(ref)
        opened.remove(ref)
    if as_json:
        printing.as_json(_shown(version))
    else:
        printing.data(str(version.ref))
    printing.remark("removed; `lading gc` gives the space back")


@click.command(
    "gc",
    short_help="Remove what no version names.",
    cls=Command,
    examples=(
        "lading gc --dry-run",
        "lading gc",
    ),
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option(
    "--older-than-s",
    type=click.FloatRange(min=0),
    metavar="NUMBER",
    default=3600,
    show_default=True,
    help="Leave alone what is younger: a push may be under way.",
)
@registry_option
@json_option
def gc(dry_run: bool, older_than_s: float, registry: str | None, as_json: bool) -> None:
    """Remove blobs that no version names, files of broken pushes, and stale caches."""
    with open_registry(registry) as opened, printing.busy("collecting"):
        report = opened.gc(dry_run=dry_run, older_than_s=older_than_s)
    if as_json:
        said = {"dry_run": dry_run, "freed_bytes": report.freed_bytes, "kept": report.kept}
        printing.as_json({**said, "removed": report.removed})
    elif report.removed:
        rows = [(one.kind, one.name, printing.size(one.size_bytes)) for one in report.removed]
        printing.table(("what", "name", "size"), rows)
    done = "would remove" if dry_run else "removed"
    freed = printing.size(report.freed_bytes)
    printing.remark(
        f"{done} {len(report.removed)}, kept {report.kept}, {freed} {'to free' if dry_run else 'freed'}"
    )


@click.command(
    "matrix",
    short_help="Show which bundles hold on which runtimes.",
    cls=Command,
    examples=(
        "lading matrix",
        "lading matrix iris --json",
    ),
)
@click.argument("name", type=NameType(), required=False)
@registry_option
@json_option
def matrix(name: str | None, registry: str | None, as_json: bool) -> None:
    """Show the evidence of every version of the registry, or of NAME, for each runtime it was verified on."""
    with open_registry(registry) as opened:
        names = [name] if name is not None else opened.models()
        versions = [version for model in names for version in opened.versions(model)]
        evidence = [(one, opened.evidence(one.digest)) for one in versions]
    if as_json:
        cells = [_cell(one, str(of.ref)) for of, found in evidence for one in found]
        printing.as_json({"bundles": [str(of.ref) for of in versions], "evidence": cells})
        return
    runtimes = {one.fingerprint.id: one.fingerprint for _, found in evidence for one in found}
    if not runtimes:
        ref = versions[-1].ref if versions else "NAME:1"
        printing.remark(
            f"no evidence in this registry yet; `lading verify {ref}` records it "
            "(that of a directory is only shown)"
        )
        return
    header = ["ref", *(_machine(one) for one in runtimes.values())]
    printing.table(header, [_line(of, found, list(runtimes)) for of, found in evidence])


def _shown(version: ModelVersion) -> dict[str, Any]:
    import msgspec

    return {"ref": str(version.ref), **msgspec.structs.asdict(version)}


def _there(ref: Ref, to: Path) -> Bundle | None:
    """Return the bundle that REF names by its digest if `to` holds it, whole."""
    from lading.bundle import Bundle

    if ref.digest is None or not to.exists():
        return None
    try:
        bundle = Bundle.open(to, digest=ref.digest)
    except BundleError:
        return None
    return bundle if bundle.manifest.name == ref.name else None


def _pulled(ref: Ref, to: Path, registry: str | None) -> Bundle:
    """Pull the bundle unless `to` holds it; anything else there is for the registry to refuse."""
    with open_registry(registry) as opened, printing.moving(f"pulling {ref}") as told:
        there = _there(Ref(ref.name, digest=opened.resolve(ref).digest), to) if to.exists() else None
        return there or opened.pull(ref, to, on_progress=told)


def _untag(registry: Registry, ref: Ref, tag: str) -> None:
    if ref != Ref(ref.name):
        raise UsageError(
            f"reference `{ref}`", expected=f"`{ref.name}` alone, for a tag is the model's", found=f"`{ref}`"
        )
    registry.untag(ref.name, tag)


def _row(one: ModelVersion) -> tuple[str, ...]:
    return (
        str(one.ref),
        ", ".join(one.tags),
        one.purpose,
        one.owner,
        printing.size(one.size_bytes),
        one.pushed_at[:16].replace("T", " "),
        printing.short(one.digest),
    )


def _line(of: ModelVersion, found: list[Evidence], runtimes: list[str]) -> list[str]:
    outcome = {one.fingerprint.id: _outcome(one) for one in found}
    return [str(of.ref), *(outcome.get(runtime, "–") for runtime in runtimes)]


def _outcome(one: Evidence) -> str:
    return "holds" if one.holds else "fails: " + ", ".join(check.name for check in one.failures)


def _machine(one: Fingerprint) -> str:
    image = f", image {printing.short(one.image)}" if one.image else ""
    return f"ORT {one.onnxruntime}, Python {one.python}, {one.os} {one.arch}{image}"


def _cell(one: Evidence, ref: str) -> dict[str, Any]:
    return {
        "ref": ref,
        "bundle": one.bundle,
        "runtime": one.fingerprint.id,
        "fingerprint": one.fingerprint,
        "holds": one.holds,
        "failed": [check.name for check in one.failures],
        "numbers": one.numbers,
        "measured_at": one.measured_at,
    }
