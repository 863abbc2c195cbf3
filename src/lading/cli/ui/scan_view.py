"""A scan as people read it: its feeds with their dates, its findings, what ends, what was not checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lading.cli.ui import printing

if TYPE_CHECKING:
    from lading.trust.feeds import FeedState
    from lading.trust.scan import Finding, Scan

_MOST_NAMES = 4
_MOST_LISTED = 12


def report_scan(result: Scan) -> None:
    """Print a scan, and on stderr what it came to in one sentence."""
    if result.findings:
        rows = [finding_row(finding) for finding in result.findings]
        printing.table(("severity", "component", "vulnerability", "fixed in", "about"), rows)
    for end in result.ends:
        if end.ended:
            printing.data(f"end of life: {end.sentence}")
    for unchecked in result.not_checked:
        names = ", ".join(unchecked.components[:_MOST_LISTED])
        more = len(unchecked.components) - _MOST_LISTED
        text = f"{names} and {more} more" if more > 0 else names
        printing.data(f"not checked: {unchecked.reason}: {text}")
    for feed in result.feeds:
        printing.info(feed_line(feed))
    printing.info(sentence(result))


def finding_row(finding: Finding) -> tuple[str, str, str, str, str]:
    """Return a finding as a row of a table."""
    names = ", ".join(finding.names[:_MOST_NAMES])
    # CVSS has a score of 0.0, which is not the same as none.
    score = "" if finding.score is None else f" {finding.score:g}"
    part = " (training)" if finding.part == "training" else ""
    component = f"{finding.component} {finding.version}{part}"
    return f"{finding.severity}{score}", component, names, ", ".join(finding.fixed_in[:2]), finding.summary


def feed_line(feed: FeedState) -> str:
    """Return one feed with what it covers and how old it is."""
    covers = ", ".join(feed.covers[:3]) + (", …" if len(feed.covers) > 3 else "")
    count = f"{feed.entries:,} entries" if feed.entries != 1 else "1 entry"
    about = f" ({covers})" if covers else ""
    return f"feed {feed.kind} `{feed.name}`: {feed.date_of} of {feed.date[:10]}, {count}{about}"


def sentence(result: Scan) -> str:
    """Return what a scan came to; without a feed, that nothing was checked."""
    name = result.subject.name + (f":{result.subject.version}" if result.subject.version else "")
    # First: without a feed there are no findings either, which must not read as a clean result.
    if not result.was_checked:
        return f"`{name}`: not checked: no feed"
    checked = f"{result.checked} of {printing.plural(result.components, 'component')} checked"
    if not result.findings:
        return f"`{name}`: the feeds list nothing against it; {checked}"
    counts: dict[str, int] = {}
    for finding in result.findings:
        counts[finding.severity] = counts.get(finding.severity, 0) + 1
    words = ", ".join(f"{count} {severity}" for severity, count in counts.items())
    unrated = "; `unknown` means that no feed rates it, not that it is low" if "unknown" in counts else ""
    return f"`{name}`: {printing.plural(len(result.findings), 'finding')} ({words}); {checked}{unrated}"
