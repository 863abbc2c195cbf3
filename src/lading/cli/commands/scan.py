"""``lading scan``: published vulnerabilities and ends of life of what something consists of."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lading.cli.ui import printing
from lading.cli.ui.attaching import attach_scan
from lading.cli.ui.command import Command
from lading.cli.ui.exit_codes import HintedUsageError
from lading.cli.ui.parameters import json_option, open_registry, registry_option
from lading.cli.ui.running_scan import RunningScan, scan_running
from lading.cli.ui.scan_view import report_scan
from lading.cli.ui.subjects import Inventoried, listed
from lading.errors import GateNotMet
from lading.settings import feeds_folder

if TYPE_CHECKING:
    from lading.trust.scan import Scan
    from lading.trust.severity import Severity


@click.command(
    "scan",
    short_help="Look for published vulnerabilities and ends of life.",
    cls=Command,
    examples=(
        "lading scan iris:3 --feeds ./feeds",
        "lading scan oci:./images:iris --feeds ./feeds --max high",
        "lading scan iris.cdx.json --feeds ./feeds --json",
        "lading scan --running --watch --feeds ./feeds",
    ),
)
@click.argument("subjects", metavar="DIR|REF|IMAGE|SBOM", nargs=-1)
@click.option("--running", is_flag=True, help="Scan what the servers of the inventory run.")
@click.option(
    "--watch", is_flag=True, help="With --running: again when feeds or servers change, until stopped."
)
@click.option(
    "--feeds",
    type=click.Path(path_type=Path, exists=True),
    metavar="DIR",
    help="Folder of feeds: OSV, NVD, JVN, endoflife.date.  [default: LADING_FEEDS]",
)
@click.option(
    "--max",
    "limit",
    type=click.Choice(["none", "low", "medium", "high", "critical"]),
    help="Worst severity that is allowed; what has no rating is above all but `critical`.",
)
@click.option(
    "--max-age",
    "max_age",
    type=click.FloatRange(min=0),
    default=14.0,
    show_default=True,
    metavar="DAYS",
    help="Age from which a feed is refused.",
)
@click.option(
    "--platform", default="", metavar="OS/ARCH", help="Image of an index to read; the first if not set."
)
@registry_option
@json_option
def scan(
    subjects: tuple[str, ...],
    feeds: Path | None,
    limit: Severity | None,
    registry: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare what bundles, images or CycloneDX documents list with feeds in a folder; no server is asked.

    Each feed is named with its date, and one that is too old ends the command with exit code 5. What no feed
    covers is listed as not checked. The scan of a version is recorded in the registry, where gates, the
    inventory and the hub find it.

    With --running: the packages of every server that runs, and of the environments of its models in Python.
    """
    folder, max_age = feeds_folder(feeds), options["max_age"]
    if folder is not None and not folder.exists():
        raise HintedUsageError(f"feeds `{folder}`: expected a folder or a file, found nothing", None)
    if options["running"]:
        watch = options["watch"]
        scan_running(RunningScan(folder, limit, max_age, registry, as_json=as_json, watch=watch), subjects)
        return
    if options["watch"] or not subjects:
        raise HintedUsageError("expected what to scan, or `--running`, found neither", None)
    about = [listed(subject, registry, options["platform"]) for subject in subjects]
    results = _scans(about, folder, max_age)
    _record(about, results, registry)
    if as_json:
        printing.as_json(results)
    else:
        for result in results:
            report_scan(result)
    if limit is not None:
        _check_limit(results, limit)


def _scans(about: list[Inventoried], folder: Path | None, max_age: float) -> list[Scan]:
    from lading.trust.components import merged
    from lading.trust.feeds import Feeds
    from lading.trust.feeds.folder import read_feeds
    from lading.trust.scan import check_ages
    from lading.trust.scan import scan as scan_components

    now = datetime.datetime.now(datetime.UTC)
    components = merged(*(each.components for each in about))
    feeds = read_feeds(folder, components) if folder is not None else Feeds()
    check_ages(feeds.states, now, max_age)
    return [scan_components(each.subject, each.components, feeds, now) for each in about]


def _record(about: list[Inventoried], results: list[Scan], registry: str | None) -> None:
    """Attach each scan to its digest; one that checked nothing says nothing about it."""
    known = [
        (each, result)
        for each, result in zip(about, results, strict=True)
        if each.digests and result.was_checked
    ]
    if not known:
        return
    with open_registry(registry) as opened:
        for each, result in known:
            if not attach_scan(opened, each.digests, result):
                return


def _check_limit(results: list[Scan], limit: Severity) -> None:
    from lading.trust.scan import above

    for result in results:
        name = result.subject.name
        if not result.was_checked:
            raise GateNotMet(f"`{name}`", expected=f"a scan with nothing above `{limit}`", found="no feed")
        too_bad: list[Any] = above(result.findings, limit)
        if too_bad:
            first = too_bad[0]
            more = f" and {len(too_bad) - 1} more" if len(too_bad) > 1 else ""
            worst = f"{first.id} ({first.severity}) in {first.component} {first.version}{more}"
            raise GateNotMet(f"`{name}`", expected=f"nothing above `{limit}`", found=worst)
