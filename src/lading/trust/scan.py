"""Whether what something consists of has published vulnerabilities, or is past its end of life.

A pure function of components, feeds and the time. It never says that there are none: it says what was
checked against which feeds, and lists what was not checked, each with its reason.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Sequence

import msgspec

from lading.errors import FeedStale
from lading.trust.components import GENERIC, Component, Part, Subject
from lading.trust.ends import EndOfLife, ends_of_life
from lading.trust.feeds import Advisory, Affected, Feeds, FeedState, iso_moment
from lading.trust.feeds.folder import names_of
from lading.trust.ranges import fixed_versions, judge_version
from lading.trust.severity import RATINGS, Severity, exceeds, worst
from lading.trust.versions import parser_of

SCAN_TYPE = "application/vnd.lading.scan.v1+json"
MAX_AGE_DAYS = 14.0
"""The age from which a feed counts as stale: databases of vulnerabilities change every day."""


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One vulnerability of one component, by all of its names; `id` is its CVE if it has one."""

    id: str
    names: tuple[str, ...]
    ecosystem: str
    component: str
    version: str
    severity: Severity = "unknown"
    score: float | None = None
    summary: str = ""
    fixed_in: tuple[str, ...] = ()
    part: Part = "runs"

    @property
    def key(self) -> str:
        """What makes it the same finding again, by whichever of its names a feed calls it."""
        return f"{self.component} {self.version} {self.id}"


class Unchecked(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Components that no feed could be asked about, and why."""

    reason: str
    components: tuple[str, ...]


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What a scan of one subject came to."""

    subject: Subject
    scanned_at: str
    feeds: tuple[FeedState, ...]
    components: int
    checked: int
    findings: tuple[Finding, ...]
    ends: tuple[EndOfLife, ...]
    not_checked: tuple[Unchecked, ...]

    @property
    def was_checked(self) -> bool:
        """Return whether any feed of vulnerabilities was read."""
        return any(feed.kind in {"osv", "nvd"} for feed in self.feeds)

    @property
    def severity(self) -> Severity:
        """The worst rating of its findings: ``none`` without any, ``unknown`` if none of them is rated."""
        return worst(finding.severity for finding in self.findings) if self.findings else "none"


def scan(subject: Subject, components: Sequence[Component], feeds: Feeds, now: datetime.datetime) -> Scan:
    """Compare components with what the feeds say of them."""
    findings: list[Finding] = []
    reasons: dict[str, set[str]] = {}
    checked = 0
    for component in components:
        reason = _why_not(component, feeds)
        if reason:
            reasons.setdefault(reason, set()).add(component.title)
            continue
        # Counted before its advisories: one that is unclear is listed beside, and hides no other.
        checked += 1
        its_findings, unclear = _findings(component, feeds)
        findings += its_findings
        for advisory in unclear:
            text = f"`{advisory}` has a range that cannot be compared with its version"
            reasons.setdefault(text, set()).add(component.title)
    ends, without_product = ends_of_life(components, feeds.cycles, now.date())
    if without_product:
        reasons.setdefault("end of life: no feed has this product", set()).update(without_product)
    return Scan(
        subject=subject,
        scanned_at=now.astimezone(datetime.UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z"),
        feeds=feeds.states,
        components=len(components),
        checked=checked,
        findings=tuple(sorted(findings, key=_rank)),
        ends=ends,
        not_checked=tuple(
            Unchecked(reason=reason, components=tuple(sorted(names)))
            for reason, names in sorted(reasons.items())
        ),
    )


def check_ages(feeds: Iterable[FeedState], now: datetime.datetime, max_age_days: float) -> None:
    """Raise `FeedStale` for the oldest feed that is older than it may be, or that has no date."""
    for feed in sorted(feeds, key=lambda feed: feed.date):
        where = f"feed `{feed.name}`"
        expected = f"one of the last {max_age_days:g} days"
        hint = "fetch it again, or allow its age with `--max-age DAYS`"
        # An empty date sorts first, so that it is the one that is named.
        if not feed.date:
            raise FeedStale(where, expected=expected, found="none with a date", hint=hint)
        days = (now - iso_moment(feed.date, where)).total_seconds() / 86_400
        if days > max_age_days:
            actual = f"its {feed.date_of} of {feed.date[:10]}, {days:.0f} days ago"
            raise FeedStale(where, expected=expected, found=actual, hint=hint)


def above(findings: Collection[Finding], limit: Severity) -> list[Finding]:
    """Return the findings that a limit does not allow, among them those without a rating (see `exceeds`)."""
    return [finding for finding in findings if exceeds(finding.severity, limit)]


def _why_not(component: Component, feeds: Feeds) -> str:
    """Return why the feeds cannot be asked about a component, or nothing."""
    if not any(state.kind in {"osv", "nvd"} for state in feeds.states):
        return "no feed"
    # Every advisory would fit a package without a version, or none would.
    if not component.version and not component.source_version:
        return "no version is stated"
    family = component.ecosystem.partition(":")[0]
    covered = {component.ecosystem, family} & feeds.ecosystems
    # NVD's products name the interpreter; a system's faults are those of its packages, by their own names.
    if not covered or (family == GENERIC and component.name != "python"):
        return f"no feed covers {_ecosystem_text(component)}"
    parse = parser_of(component.ecosystem)
    if family == GENERIC and component.version.count(".") < 2:
        return "only its minor version is stated"
    if parse is None or parse(_version_of(component)) is None:
        return f"its version is none of {component.ecosystem}"
    return ""


def _ecosystem_text(component: Component) -> str:
    if component.ecosystem == GENERIC:
        return "the interpreter" if component.name == "python" else "the operating system"
    return component.ecosystem


def _version_of(component: Component) -> str:
    return component.source_version or component.version


def _findings(component: Component, feeds: Feeds) -> tuple[list[Finding], list[str]]:
    """Return the findings of a component, and the advisories that could not be compared with it."""
    hits: list[tuple[Advisory, list[Affected]]] = []
    unclear: list[str] = []
    names = names_of(component)
    advisories = {each.id: each for name in names for each in feeds.advisories.get(name, ())}
    for advisory in advisories.values():
        about = [each for each in advisory.affected if _is_about(each, component, names)]
        answers = [judge_version(each, _version_of(component)) for each in about]
        if "affected" in answers:
            hits.append(
                (
                    advisory,
                    [each for each, answer in zip(about, answers, strict=True) if answer == "affected"],
                )
            )
        elif "unclear" in answers:
            unclear.append(advisory.id)
    return [_finding(component, group, feeds) for group in _groups(hits)], unclear


def _is_about(affected: Affected, component: Component, names: list[tuple[str, str]]) -> bool:
    family = affected.ecosystem.partition(":")[0]
    # An entry about Debian without a release is about all of them.
    same = affected.ecosystem in {component.ecosystem, family}
    return same and (family, affected.name) in names


def _groups(
    hits: list[tuple[Advisory, list[Affected]]],
) -> list[list[tuple[Advisory, list[Affected]]]]:
    """Return advisories that share a name as one group: aliases are symmetric and transitive."""
    groups: list[tuple[set[str], list[tuple[Advisory, list[Affected]]]]] = []
    for hit in hits:
        names, members = {hit[0].id, *hit[0].aliases}, [hit]
        apart = []
        # One hit may join groups that had no name in common until it came.
        for other_names, others in groups:
            if names & other_names:
                names, members = names | other_names, [*others, *members]
            else:
                apart.append((other_names, others))
        groups = [*apart, (names, members)]
    return [members for _, members in groups]


def _finding(component: Component, group: list[tuple[Advisory, list[Affected]]], feeds: Feeds) -> Finding:
    advisories = [advisory for advisory, _ in group]
    names = {name for advisory in advisories for name in (advisory.id, *advisory.aliases)}
    ratings = [feeds.ratings[name] for name in sorted(names) if name in feeds.ratings]
    names |= {name for rating in ratings for name in rating.names}
    ordered = sorted(names, key=_name_rank)
    stated = [(each.severity, each.score) for each in advisories]
    stated += [(each.severity, each.score) for each in ratings]
    scores = [score for _, score in stated if score is not None]
    # Databases rate differently, and the highest counts: nobody is served by the kindest of them.
    severity = worst(rating for rating, _ in stated)
    fixes = [
        text
        for _, affected in group
        for each in affected
        for text in fixed_versions(each, _version_of(component))
    ]
    return Finding(
        id=ordered[0],
        names=tuple(ordered),
        ecosystem=component.ecosystem,
        component=component.source or component.name,
        version=_version_of(component),
        severity=severity,
        score=max(scores, default=None),
        summary=next((each.summary for each in advisories if each.summary), ""),
        fixed_in=tuple(dict.fromkeys(fixes)),
        part=component.part,
    )


_FIRST = ("CVE-", "GHSA-", "PYSEC-", "DSA-", "DLA-", "JVNDB-")


def _name_rank(name: str) -> tuple[int, str]:
    place = next((at for at, prefix in enumerate(_FIRST) if name.startswith(prefix)), len(_FIRST))
    return place, name


def _rank(finding: Finding) -> tuple[int, str, str]:
    # What is not rated comes after what is high, and before the rest: it may be anything.
    order = {rating: -2 * at for at, rating in enumerate(RATINGS)}
    return order.get(finding.severity, -5), finding.component, finding.id
