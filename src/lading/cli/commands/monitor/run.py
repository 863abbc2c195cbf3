"""``lading monitor run``: a process that watches the models and serves nothing."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.log_options import log_option
from lading.cli.ui.parameters import open_registry, registry_option
from lading.settings import feeds_folder, log_url


@click.command(
    "run",
    short_help="Watch the models until stopped.",
    cls=Command,
    examples=("lading monitor run", "lading monitor run --alerts alerts.toml"),
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    help="Lowest level to log.",
)
@click.option(
    "--alerts",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Rules of alerts, and where they go.",
)
@click.option(
    "--feeds",
    type=click.Path(path_type=Path, exists=True),
    metavar="DIR",
    help="Folder of feeds to scan what runs against, again when it changes.  [default: LADING_FEEDS]",
)
@log_option
@registry_option
def run(
    log_level: str, alerts: Path | None, feeds: Path | None, log: str | None, registry: str | None
) -> None:
    """Test what servers have counted of live columns, and raise alarms, until SIGTERM or Ctrl-C.

    Any number of processes may do this: one is active at a time, and if it dies, another takes over and
    continues from there. `lading serve` with a registry does the same. Slices of models are tested by the
    labels in the prediction log. With feeds, what the servers run is scanned for published vulnerabilities.
    """
    from lading.blobs.os_errors import read_only
    from lading.logs import set_up_logging
    from lading.monitor.alert_rules import AlertRules
    from lading.monitor.alerting import Alerting
    from lading.monitor.driver import MonitorDriver
    from lading.monitor.slice_watch import SliceWatch
    from lading.rollout import unique_holder
    from lading.trust.alerts import VulnerabilityFindings
    from lading.trust.running_scans import RunningScanner

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    set_up_logging(log_level)
    rules = AlertRules.read(alerts) if alerts is not None else None
    with open_registry(registry) as opened:
        if opened.read_only:
            raise read_only(opened.where)
        vulnerabilities = VulnerabilityFindings(opened, opened.fleet.now)
        alerting = Alerting(opened, rules, more=vulnerabilities) if rules is not None else None
        holder = unique_holder()
        folder = feeds_folder(feeds)
        if folder is not None:
            scanner = RunningScanner(opened, folder, actor=holder)
            threading.Thread(target=scanner.run, args=(stop,), name="scans", daemon=True).start()
        printing.info(f"`{holder}` is ready to watch; Ctrl-C stops it")
        slices = SliceWatch(opened, log_url(log, registry))
        MonitorDriver(opened, holder, alerting=alerting, slices=slices).run(stop)
