"""`lading scan --running`: what the servers of the inventory run, once or until stopped."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lading.cli.ui import printing
from lading.cli.ui.exit_codes import HintedUsageError
from lading.cli.ui.parameters import current_actor, open_registry
from lading.cli.ui.scan_view import feed_line, finding_row
from lading.errors import GateNotMet

if TYPE_CHECKING:
    from lading.registry import Registry
    from lading.trust.running import RunningFinding
    from lading.trust.scan import Scan
    from lading.trust.severity import Severity


@dataclass(frozen=True)
class RunningScan:
    """What was asked for: the feeds, the limit, and how to answer."""

    folder: Path | None
    limit: Severity | None
    max_age_days: float
    registry: str | None
    as_json: bool
    watch: bool


def scan_running(wanted: RunningScan, subjects: tuple[str, ...]) -> None:
    """Scan what runs, print and record it; with ``watch``, again whenever anything has changed."""
    from lading.trust.running_scans import LOOK_EVERY_S, RunningScanner

    if subjects:
        raise HintedUsageError("`--running` scans every server, and takes no other subjects", None)
    if wanted.folder is None:
        hint = "name their folder with `--feeds DIR` or in `LADING_FEEDS`"
        raise HintedUsageError("`--running` needs feeds: without any, nothing is checked", hint)
    stop = threading.Event()
    if wanted.watch:
        for number in (signal.SIGTERM, signal.SIGINT):
            # Ends after the present look, whose findings are recorded together.
            signal.signal(number, lambda *_: stop.set())
    with open_registry(wanted.registry) as opened:
        actor = current_actor(None)
        scanner = RunningScanner(opened, wanted.folder, actor=actor, max_age_days=wanted.max_age_days)
        known: set[str] = set()
        while True:
            scans = scanner.turn()
            if scans is not None:
                known = _report(opened, scans, wanted, known)
            if not wanted.watch or stop.wait(LOOK_EVERY_S):
                return


def _report(registry: Registry, scans: dict[str, Scan], wanted: RunningScan, known: set[str]) -> set[str]:
    """Print what is known against servers, and return it; while watching, only what is new is printed."""
    from lading.trust.running import exposure

    running = [replica for replica in registry.fleet.replicas() if not replica.gone]
    exposures = {replica.id: exposure(replica, scans) for replica in running}
    findings = [each for server in exposures.values() for each in server.findings]
    # By server, model and finding: the same vulnerability on another server is news.
    new = [each for each in findings if _key(each) not in known]
    unscanned = {server: each.unscanned for server, each in exposures.items() if each.unscanned}
    if wanted.as_json:
        document = {"scans": list(scans.values()), "running": new, "not_checked": unscanned}
        # A line for each look, so that a program can read them as they come.
        printing.as_json(document, indent=0 if wanted.watch else 2)
    else:
        _print(new, scans, unscanned, len(running))
    if wanted.limit is not None and not wanted.watch:
        _check_limit(findings, unscanned, wanted.limit)
    return {_key(each) for each in findings}


def _print(
    findings: list[RunningFinding],
    scans: dict[str, Scan],
    unscanned: dict[str, tuple[str, ...]],
    servers: int,
) -> None:
    if findings:
        rows = [(each.server, each.model or "(server)", *finding_row(each.finding)) for each in findings]
        header = ("server", "model", "severity", "component", "vulnerability", "fixed in", "about")
        printing.table(header, rows)
    for scan in scans.values():
        for end in scan.ends:
            if end.ended:
                printing.data(f"end of life: {end.sentence} ({scan.subject.name})")
    for server, parts in unscanned.items():
        printing.data(f"not checked: {', '.join(parts)} on `{server}`: no packages are known")
    feeds = next(iter(scans.values())).feeds if scans else ()
    for feed in feeds:
        printing.info(feed_line(feed))
    if scans and not any(scan.was_checked for scan in scans.values()):
        printing.info("not checked: no feed")
        return
    counted = printing.plural(len(findings), "finding")
    printing.info(f"{counted} in what {printing.plural(servers, 'server')} run")


def _check_limit(
    findings: list[RunningFinding], unscanned: dict[str, tuple[str, ...]], limit: Severity
) -> None:
    from lading.trust.severity import exceeds

    for each in findings:
        if exceeds(each.finding.severity, limit):
            raise GateNotMet(
                f"server `{each.server}`",
                expected=f"nothing above `{limit}`",
                found=f"{each.finding.id} ({each.finding.severity}) in {each.finding.component}",
            )
    # A limit that holds only for what could be looked at would promise too much.
    for server in unscanned:
        raise GateNotMet(f"server `{server}`", expected="packages to scan", found="none that it states")


def _key(each: RunningFinding) -> str:
    return f"{each.server} {each.model} {each.finding.key}"
