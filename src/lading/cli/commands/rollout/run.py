"""``lading rollout run``: a process that drives rollouts and serves nothing."""

from __future__ import annotations

import signal
import threading

import click

from lading.cli.ui import printing
from lading.cli.ui.command import Command
from lading.cli.ui.parameters import open_registry, registry_option


@click.command(
    "run",
    short_help="Drive rollouts until stopped.",
    cls=Command,
    examples=("lading rollout run",),
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    help="Lowest level to log.",
)
@registry_option
def run(log_level: str, registry: str | None) -> None:
    """Drive all rollouts of the registry until SIGTERM or Ctrl-C.

    Any number of processes may do this: one is active at a time, and if it dies, another takes over within
    10 s and continues from there. `lading serve` without a reference does the same.
    """
    from lading.blobs.os_errors import read_only
    from lading.logs import set_up_logging
    from lading.rollout import Driver, unique_holder

    # The driver finishes its pass before it stops, so that no release is left half changed.
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    set_up_logging(log_level)
    with open_registry(registry) as opened:
        if opened.read_only:
            raise read_only(opened.where)
        holder = unique_holder()
        printing.info(f"`{holder}` is ready to drive; Ctrl-C stops it")
        Driver(opened, holder).run(stop)
