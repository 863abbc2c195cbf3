"""The types of arguments and options: references, bundle directories, metrics, and how each is completed."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from lading.cli.ui.exit_codes import HintedUsageError, did_you_mean
from lading.errors import LadingError
from lading.ref import Ref
from lading.settings import actor, registry_url, trust_policy

if TYPE_CHECKING:
    from lading.bundle import Bundle
    from lading.registry import Registry
    from lading.registry.gate import Place


class RefType(click.ParamType):  # type: ignore[type-arg]
    """A reference, completed from the registry."""

    name = "ref"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Ref:  # noqa: ARG002
        """Parse a reference; raises `InvalidReference`."""
        # click converts a default as well, which may be converted already.
        return value if isinstance(value, Ref) else Ref.parse(value)

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """List the references of the registry that begin with `incomplete`."""
        return [CompletionItem(ref) for ref in _completions(ctx, incomplete)]


class BundleType(RefType):
    """A bundle's directory or a reference.

    It is a directory if it contains a `/` or holds a `bundle.json`, else a reference; `iris:3` and
    `iris@sha256:…` are always references.
    """

    name = "bundle"

    def convert(  # type: ignore[override]
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Ref | Path:
        """Parse a directory or a reference; raises `InvalidReference`."""
        if isinstance(value, Ref | Path):
            return value
        path = Path(value).expanduser()
        if "/" in value or value in (".", "..", "~") or (path / "bundle.json").is_file():
            if not path.exists():
                self.fail(f"directory `{value}` does not exist", param, ctx)
            if path.is_file():
                raise _not_packed(value, ctx)
            return path
        # A file in the current folder was meant, unless the registry has a model of that name.
        if path.is_file() and path.suffix == ".onnx":
            raise _not_packed(value, ctx)
        return super().convert(value, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """List directories and references."""
        return [CompletionItem(incomplete, type="dir"), *super().shell_complete(ctx, param, incomplete)]


class NameType(click.ParamType):  # type: ignore[type-arg]
    """A model's name, completed from the registry."""

    name = "name"

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """List the models of the registry."""
        return [CompletionItem(name) for name in _completions(ctx, incomplete) if ":" not in name]


class MetricType(click.ParamType):  # type: ignore[type-arg]
    """A metric and its value: ``accuracy=0.97``."""

    name = "name=number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        """Parse ``name=number``."""
        name, equals, number = str(value).partition("=")
        try:
            if not equals or not name:
                raise ValueError
            return name, float(number)
        except ValueError:
            self.fail(f"expected `name=number`, found `{value}`", param, ctx)


class DirectoryType(click.Path):
    """A bundle's directory, which must exist."""

    def __init__(self) -> None:
        super().__init__(exists=True, file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; a model's name may have been meant for its bundle, a file for a bundle of it."""
        path = Path(value)
        if path.is_file():
            raise _not_packed(value, ctx)
        # `lading pack` names the directory so, and people type the name of the model.
        near = path.with_name(f"{path.name}.bundle") if path.name else path
        if not path.exists() and near.is_dir():
            hint = did_you_mean([str(near)])
            raise HintedUsageError(f"directory `{value}` does not exist", hint, ctx)
        if path.is_dir() and not (path / "bundle.json").exists():
            # One level down: the folder of several bundles was named, and one of them is meant.
            within = sorted(str(file.parent) for file in path.glob("*/bundle.json"))
            hint = did_you_mean(within[:2]) or "`lading pack` makes a bundle of a model"
            where = f"`{value}`: expected a bundle's directory, found no `bundle.json` in it"
            raise HintedUsageError(where, hint, ctx)
        return super().convert(value, param, ctx)


FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class DataPlaceType(click.ParamType):  # type: ignore[type-arg]
    """A path of this machine, or a URL ``s3://bucket/prefix``, which stays a text."""

    name = "path or s3:// URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        """Return a URL as it is, and anything else as a path; fails for URLs of another kind."""
        if isinstance(value, Path):
            return value
        if value.startswith("s3://"):
            return str(value)
        # A file of such a name is so much rarer than a URL that nothing here reads.
        if "://" in value:
            self.fail(f"expected a path or `s3://bucket/prefix`, found `{value}`", param, ctx)
        return Path(value)


def complete_files(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a value that may also be something other than a file, such as ``-``."""
    return [CompletionItem(incomplete, type="file")]


def complete_directories(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a value that may also be something other than a directory, such as a URL."""
    return [CompletionItem(incomplete, type="dir")]


registry_option = click.option(
    "--registry",
    metavar="URL",
    shell_complete=complete_directories,
    help="Registry: a folder or postgresql://…  [env: LADING_REGISTRY; default: ~/.lading]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout.")
actor_option = click.option(
    "--actor",
    metavar="NAME",
    help="Name to record in the history.  [env: LADING_ACTOR; default: your login name]",
)
number_option = click.option(
    "--release",
    "number",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="Number of the release that is meant; refused if another one is the last by now.",
)
reason_option = click.option("--reason", default="", metavar="TEXT", help="Reason to record in the history.")


allow_option = click.option(
    "--allow",
    type=click.Choice(["none", "code", "pickle"]),
    help="What of the bundle may run here: nothing of its own, its modules, or pickles, too.  "
    "[default: LADING_ALLOW, else none]",
)


wheels_option = click.option(
    "--wheels",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of wheels to build environments from, offline.  [default: LADING_WHEELS, else pip's index]",
)


def timeout_option(default_s: float, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option ``--timeout-s`` of a command that ends what does not end."""
    return click.option(
        "--timeout-s",
        type=click.FloatRange(min=1),
        metavar="NUMBER",
        default=default_s,
        show_default=True,
        help=text,
    )


def change_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return `command` with the options of every command that changes a release."""
    # Applied from the last to the first: a decorator that is applied later is listed earlier.
    for option in (json_option, registry_option, reason_option, actor_option):
        command = option(command)
    return command


def current_actor(option: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """Return who acts: the option, else ``LADING_ACTOR``, else the login name."""
    name = actor(option, environ)
    if name:
        return name
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # A container may run as a user id without a name.
        return f"uid {os.getuid()}"


policy_option = click.option(
    "--trust-policy",
    "policy",
    metavar="FILE",
    shell_complete=complete_files,
    help="Trust policy that decides which bundles are let in.  [env: LADING_TRUST_POLICY; default: none]",
)


def open_registry(url: str | None, policy: str | None = None) -> Registry:
    """Open the registry at `url`, or the default one, behind the trust policy in a file."""
    from lading.registry import Registry

    return Registry.open(registry_url(url), policy=policy)


class ShareType(click.ParamType):  # type: ignore[type-arg]
    """A share of rows: ``1%`` or ``0.01``."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the share as a number from 0 to 1."""
        if isinstance(value, float):
            return value
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        # Refused below, with the same sentence as a share out of range.
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            self.fail(f"expected a share such as `1%` or `0.01`, found `{value}`", param, ctx)
        return share


def open_bundle(source: Ref | Path, registry: str | None) -> Bundle:
    """Open a bundle from its directory or the registry; every rule of the format is checked."""
    if isinstance(source, Path):
        from lading.bundle import Bundle

        return Bundle.open(source)
    with open_registry(registry) as opened:
        return opened.fetch(source)


def open_named(source: Ref | Path, registry: str | None) -> tuple[Bundle, str]:
    """Open a bundle, and name it as a server would: ``iris:3``, or ``iris`` from a directory."""
    if isinstance(source, Path):
        bundle = open_bundle(source, registry)
        return bundle, bundle.manifest.name
    with open_registry(registry) as opened:
        version = opened.resolve(source)
        # By digest: a tag may have moved since it was resolved.
        return opened.fetch(Ref(version.name, digest=version.digest)), str(version.ref)


def open_admitted(
    source: Ref | Path, registry: str | None, policy: str | None, place: Place
) -> tuple[Bundle, str]:
    """Open a bundle as `open_named` does, if the trust policy lets it in. Raises `TrustError`."""
    if isinstance(source, Path):
        from lading.registry.gate import admit_folder

        bundle, name = open_named(source, registry)
        admit_folder(place, bundle, trust_policy(policy))
        return bundle, name
    with open_registry(registry, policy) as opened:
        version = opened.resolve(source)
        # Before it is fetched: what is not let in is not even unpacked here.
        opened.admission.check(place, version)
        return opened.fetch(version), str(version.ref)


def _not_packed(value: str, ctx: click.Context | None) -> HintedUsageError:
    source = f"{Path(value).stem}:OBJECT" if value.endswith(".py") else value
    hint = f"`lading pack {source} --name NAME --owner OWNER` makes a bundle of a model"
    return HintedUsageError(
        f"`{value}`: expected a bundle's directory or a reference, found a file", hint, ctx
    )


def _completions(ctx: click.Context, incomplete: str) -> list[str]:
    """List model names and, after a `:`, versions and tags; never creates a registry and never fails."""
    url = registry_url(ctx.params.get("registry"))
    # Opening a registry in a folder that does not exist would create it.
    if "://" not in url and not Path(url).expanduser().is_dir():
        return []
    try:
        with open_registry(url) as registry:
            refs = registry.models()
            name, colon, _ = incomplete.partition(":")
            if colon and name in refs:
                versions = registry.versions(name)
                pins = [str(version.version) for version in versions]
                pins += [tag for version in versions for tag in version.tags]
                refs = [f"{name}:{pin}" for pin in pins]
    except LadingError:  # A shell that completes a word has no place for an error message.
        return []
    return [ref for ref in refs if ref.startswith(incomplete)]
