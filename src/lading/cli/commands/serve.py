"""``lading serve``: its flags are the fields of `ServeSettings`; everything else is done by the server."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui.command import Command
from lading.cli.ui.first_process import leave_process_1
from lading.cli.ui.parameters import BundleType, registry_option
from lading.errors import UsageError, missing_extra
from lading.ref import Ref
from lading.settings import (
    ServeSettings,
    bundles_folder,
    log_url,
    registry_is_set,
    registry_url,
    serve_settings,
    variables,
)

if TYPE_CHECKING:
    from lading.monitor.alert_rules import AlertRules
    from lading.server import BackgroundTask, KeptProcess
    from lading.server.process.status import Status

_METAVARS = {int: "N", float: "NUMBER", str: "TEXT"}


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return `command` with an option for each field of `ServeSettings`."""
    # The decorator applied last is listed first in the help.
    for field in reversed(fields(ServeSettings)):
        command = _option(field)(command)
    return command


def _option(field: Field[Any]) -> Callable[..., Any]:
    default = f"default: {field.default}; " if field.default != "" else ""
    # Any `flag_value`, None as well, makes the value of an option optional: `--port -1` would be two options.
    kind: dict[str, Any] = {"type": _click_type(field)}
    if field.metadata["flag"]:
        kind = {"type": str, "is_flag": True, "flag_value": "on"}
    return click.option(
        "--" + field.name.replace("_", "-"),
        field.name,
        **kind,
        default=None,
        metavar=_METAVARS.get(type(field.default)) if not field.metadata["choices"] else None,
        help=f"{field.metadata['help']}  [{default}env: {', '.join(variables(field))}]",
    )


def _click_type(field: Field[Any]) -> Any:
    least, most, choices = (field.metadata[rule] for rule in ("at_least", "at_most", "choices"))
    if choices:
        return click.Choice(choices)
    if isinstance(field.default, int):
        return click.IntRange(min=least, max=most)
    if isinstance(field.default, float):
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
def serve(ctx: click.Context, /, refs: tuple[Ref | Path, ...], registry: str | None, **options: Any) -> None:
    """Serve the models that the REFs name, or bundles from directories; without any, follow the releases.

    A server that follows the releases serves what `lading release` made live, for every model of the
    registry, within seconds, and drives rollouts if no other process does.

    In an image that contains bundles (in `/lading/bundles`, or the folder that `LADING_BUNDLES` names), those
    are served if no REF is given, and no registry is needed.

    Each model is proved by its golden samples before it is ready. SIGTERM or Ctrl-C drains the server: no
    request that was accepted is dropped.
    """
    settings = serve_settings(options)
    leave_process_1()
    try:
        from lading.registry.gate import open_gate
        from lading.server import serve as run

        # References on the command line take precedence over the bundles of the image.
        refs = refs or bundles_in_image()
        url = registry_url(registry)
        check_jobs(settings, refs, has_registry=registry_is_set(registry))
        open_gate(settings.trust_policy)  # In a worker, what is wrong with it would be tried again and again.
        tasks = tuple(
            background_tasks(
                refs,
                url,
                has_registry=registry_is_set(registry),
                alerts=alert_rules(settings),
                log=log_url(settings.log or None, registry),
            )
        )
        # A single server forks nothing, and starts sooner without these imports.
        if tasks and settings.workers > 1:
            import_before_fork(url)
        with hub_beside(settings, refs, url, has_registry=registry_is_set(registry)) as beside:
            code = run(settings, refs, url, tasks, beside)
    except ModuleNotFoundError as error:
        # A missing module of lading itself is a bug, not an extra that can be installed.
        if (error.name or "lading").startswith("lading"):
            raise
        raise missing_extra("`lading serve`", "serve", error) from None
    sys.stdout.flush()
    # `os._exit` flushes nothing: what was logged and printed goes out before it.
    if sys.stdout is sys.__stdout__:  # This is the process of the command, and no test of it.
        logging.shutdown()
        # The server has drained. Threads that were abandoned, and the destructors of libraries that they are
        # still in, must not keep the process.
        os._exit(code)
    ctx.exit(code)


def alert_rules(settings: ServeSettings) -> AlertRules | None:
    """Read the file of alerts, or return None if there is none. Raises `InvalidSetting`."""
    if not settings.alerts:
        return None
    from lading.monitor.alert_rules import AlertRules

    return AlertRules.read(settings.alerts)


def import_before_fork(url: str) -> None:
    """Import what the background tasks and the registry at `url` need, so that workers share that memory."""
    # Memory that is written before the fork is shared by all workers until one of them changes it.
    import lading.inventory
    import lading.rollout  # noqa: F401
    from lading.registry.open import import_catalog

    import_catalog(url)


def bundles_in_image() -> tuple[Path, ...]:
    """List the bundles that the image contains, by name; empty outside such an image."""
    folder = bundles_folder()
    # A name that begins with a dot was left behind by a pull that was killed.
    return tuple(sorted(path.parent for path in folder.glob("[!.]*/bundle.json"))) if folder.is_dir() else ()


def background_tasks(
    refs: tuple[Ref | Path, ...],
    url: str,
    *,
    has_registry: bool,
    alerts: AlertRules | None = None,
    log: str = "",
) -> Iterator[BackgroundTask]:
    """Iterate over the tasks that run beside the server, which itself knows none of them.

    A server that follows the releases drives rollouts. Every server that has a registry sends heartbeats to
    its inventory, and what it counts of live columns; one that serves bundles from directories has a registry
    only if one was chosen.
    """
    # A server of versions that were named must not move traffic of others.
    if not refs:
        yield rollout_driver(url)
    if uses_registry(refs, has_registry=has_registry):
        yield inventory_heartbeat(url)
        yield policy_history(url)
        yield column_reports(url)
        yield monitor_driver(url, alerts, log)


def uses_registry(refs: tuple[Ref | Path, ...], *, has_registry: bool) -> bool:
    """Return whether a server has a registry; of bundles from directories only if one was chosen."""
    return not refs or has_registry or any(isinstance(ref, Ref) for ref in refs)


def check_jobs(settings: ServeSettings, refs: tuple[Ref | Path, ...], *, has_registry: bool) -> None:
    """Raise `UsageError` for jobs without a registry, `InvalidSetting` for webhooks that cannot be signed.

    For the process that starts workers: what fails in a worker would be tried again and again.
    """
    if settings.jobs == "off":
        return
    if not uses_registry(refs, has_registry=has_registry):
        hint = "name one by `--registry` or LADING_REGISTRY; its catalog keeps the jobs"
        raise UsageError("`--jobs`", expected="a registry", found="bundles from directories alone", hint=hint)
    from lading.server.jobs.hook_rules import HookRules

    HookRules(settings)


@contextmanager
def hub_beside(
    settings: ServeSettings, refs: tuple[Ref | Path, ...], url: str, *, has_registry: bool
) -> Iterator[tuple[KeptProcess, ...]]:
    """Yield the program that serves the pages of the hub beside the server; none unless it is wanted.

    Raises `UsageError` without a registry, `ExtraMissing` without its libraries, and `InvalidSetting` for an
    address that is taken.
    """
    if settings.hub == "off":
        yield ()
        return
    if not uses_registry(refs, has_registry=has_registry):
        hint = "name one by `--registry` or LADING_REGISTRY; servers report to it, and the hub reads it"
        raise UsageError("`--hub`", expected="a registry", found="bundles from directories alone", hint=hint)
    from lading.hub.beside import check_libraries, command
    from lading.hub.key import read_key
    from lading.hub.listening import HubSecurity, listen
    from lading.server import KeptProcess

    check_libraries()
    read_key(None)  # One that cannot be is said here: the process reads it again.
    # Here and not in the process: an address that is taken is said before anything is served.
    with listen(settings.hub_host, settings.hub_port, "`--hub-port`") as listener:
        security = HubSecurity(settings.access, settings.tls_cert, settings.tls_key)
        words = command(listener, settings.hub_host, settings.log_level, settings.log_format, security)
        # A registry's address may have a password, which the list of processes would show.
        # People release there, too.
        policy = {"LADING_TRUST_POLICY": settings.trust_policy} if settings.trust_policy else {}
        environ = {**os.environ, "LADING_REGISTRY": url, **policy}
        yield (KeptProcess("the hub", words, pass_fds=[listener.fileno()], environ=environ),)


def column_reports(url: str) -> BackgroundTask:
    """Return the task that delivers what is counted of live columns to the registry at `url`."""

    def report(status: Status, stop: threading.Event) -> None:
        from lading.server.observe.column_reports import ColumnReports

        if status.columns is not None:
            ColumnReports(url, status.columns).run(stop)

    return report


def monitor_driver(url: str, alerts: AlertRules | None = None, log: str = "") -> BackgroundTask:
    """Return the task that tests the live columns in the registry at `url`, if no other process does.

    Slices are tested by the prediction log at `log`. By `alerts`, people are notified of what it finds.
    """

    def watch(status: Status, stop: threading.Event) -> None:
        if status.columns is None:
            return
        from lading.monitor.alerting import Alerting
        from lading.monitor.driver import MonitorDriver
        from lading.monitor.slice_watch import SliceWatch
        from lading.registry import Registry
        from lading.rollout import unique_holder
        from lading.trust.alerts import VulnerabilityFindings

        with Registry.open(url, at_once=False) as registry:
            holder = unique_holder(status.replica)
            # Made of scans that others have recorded: a server scans nothing.
            more = VulnerabilityFindings(registry, registry.fleet.now)
            alerting = Alerting(registry, alerts, more=more) if alerts is not None else None
            report = status.report_monitor
            slices = SliceWatch(registry, log or log_url(registry=url))
            MonitorDriver(registry, holder, report=report, alerting=alerting, slices=slices).run(stop)

    return watch


def policy_history(url: str) -> BackgroundTask:
    """Return the task that writes under which trust policy the server runs into the registry at `url`."""

    def record(status: Status, stop: threading.Event) -> None:
        from lading.inventory.policy_history import record_policies

        record_policies(url, status, stop)

    return record


def rollout_driver(url: str) -> BackgroundTask:
    """Return the task that drives the rollouts of the registry at `url`."""

    def drive(status: Status, stop: threading.Event) -> None:
        from lading.registry import Registry
        from lading.rollout import Driver, unique_holder

        # The catalog may be unreachable while the server starts: connect with the first pass.
        with Registry.open(url, at_once=False) as registry:
            holder = unique_holder(status.replica)
            Driver(registry, holder, report=status.report_driver).run(stop)

    return drive


def inventory_heartbeat(url: str) -> BackgroundTask:
    """Return the task that keeps the server in the inventory of the registry at `url`."""

    def send(status: Status, stop: threading.Event) -> None:
        from lading.inventory import Heartbeat

        Heartbeat(url, status).run(stop)

    return send
