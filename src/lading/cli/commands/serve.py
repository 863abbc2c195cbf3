"""``lading serve``: its flags are the fields of `ServeSettings`; everything else is the server's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui.command import Command
from lading.cli.ui.parameters import BundleType, registry_option
from lading.errors import missing_extra
from lading.ref import Ref
from lading.settings import (
    ServeSettings,
    bundles_folder,
    registry_given,
    registry_url,
    serve_settings,
    variables,
)

if TYPE_CHECKING:
    from lading.server import BackgroundTask
    from lading.server.process.status import Status

_METAVARS = {int: "N", float: "NUMBER", str: "TEXT"}


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return `command` one option for each field of `ServeSettings`, with its help, default and variable."""
    for one in reversed(fields(ServeSettings)):
        command = _option(one)(command)
    return command


def _option(one: Field[Any]) -> Callable[..., Any]:
    shown = f"default: {one.default}; " if one.default != "" else ""
    return click.option(
        "--" + one.name.replace("_", "-"),
        one.name,
        type=_kind(one),
        metavar=_METAVARS.get(type(one.default)) if not one.metadata["choices"] else None,
        help=f"{one.metadata['help']}  [{shown}env: {', '.join(variables(one))}]",
    )


def _kind(one: Field[Any]) -> Any:
    least, most, choices = (one.metadata[rule] for rule in ("at_least", "at_most", "choices"))
    if choices:
        return click.Choice(choices)
    if isinstance(one.default, int):
        return click.IntRange(min=least, max=most)
    if isinstance(one.default, float):
        return click.FloatRange(min=least, max=most)
    return str


@click.command(
    "serve",
    short_help="Serve models until SIGTERM, then drain.",
    cls=Command,
    examples=(
        "lading serve iris:1",
        "lading serve ./iris.bundle --port 9000",
        "lading serve",
    ),
)
@click.argument("refs", nargs=-1, type=BundleType(), metavar="[DIR|REF]...")
@settings_options
@registry_option
@click.pass_context
def serve(ctx: click.Context, /, refs: tuple[Ref | Path, ...], registry: str | None, **given: Any) -> None:
    """Serve the models that REFs name, or bundles from their directories; without any, follow the releases.

    In an image that holds bundles (under `/lading/bundles`, or where `LADING_BUNDLES` says) it serves those
    when no REF is given; a registry is not needed then.

    A server that follows has what `lading release` wants of every model of the registry within seconds, and
    drives rollouts where no other process does.

    Each is proved by its golden samples before it is ready. SIGTERM or Ctrl-C drains: nothing that was
    accepted is dropped.
    """
    settings = serve_settings(given)
    try:
        from lading.server import serve as run

        refs = refs or in_image()
        url = registry_url(registry)
        tasks = tuple(beside(refs, url, chosen=registry_given(registry)))
        if tasks and settings.workers > 1:
            import_ahead(url)
        ctx.exit(run(settings, refs, url, tasks))
    except ModuleNotFoundError as error:
        if (error.name or "lading").startswith("lading"):
            raise
        raise missing_extra("`lading serve`", "serve", error) from None


def import_ahead(url: str) -> None:
    """Import what background tasks and the registry at `url` need, so that workers are forked with it."""
    import lading.inventory
    import lading.rollout  # noqa: F401
    from lading.registry.open import import_catalog

    import_catalog(url)


def in_image() -> tuple[Path, ...]:
    """List the bundles that an image brought here, by name; none where this is no such image."""
    folder = bundles_folder()
    # What begins with a dot was left by a pull that was killed.
    return tuple(sorted(path.parent for path in folder.glob("[!.]*/bundle.json"))) if folder.is_dir() else ()


def beside(refs: tuple[Ref | Path, ...], url: str, *, chosen: bool) -> Iterator[BackgroundTask]:
    """Choose what runs beside a server; the server itself knows none of it.

    One that follows drives rollouts. All are in the inventory of their registry; bundles from directories
    have none, unless somebody has `chosen` one.
    """
    if not refs:
        yield rollout_driver(url)
    if not refs or chosen or any(isinstance(one, Ref) for one in refs):
        yield inventory_beat(url)


def rollout_driver(url: str) -> BackgroundTask:
    """Return what drives the rollouts of the registry at `url`."""

    def drive(status: Status, stop: threading.Event) -> None:
        from lading.registry import Registry
        from lading.rollout import Driver, holder_here

        with Registry.open(url, at_once=False) as registry:
            Driver(registry, holder_here(status.replica)).run(stop)

    return drive


def inventory_beat(url: str) -> BackgroundTask:
    """Return what keeps the server in the inventory of the registry at `url`."""

    def keep(status: Status, stop: threading.Event) -> None:
        from lading.inventory import Beat

        Beat(url, status).run(stop)

    return keep
