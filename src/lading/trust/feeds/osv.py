"""Entries in the form of OSV (https://ossf.github.io/osv-schema/), of any database that writes it.

Reads what says which versions are affected; text, credits and references stay in the feed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from lading.bundle.environment_lock import normal_name
from lading.errors import FeedInvalid
from lading.trust.feeds import Advisory, Affected, Event
from lading.trust.severity import Severity, rating_of_score, rating_of_word, score_of_vector, worst

_RANGES = ("ECOSYSTEM", "SEMVER")
_LONGEST_SUMMARY = 200


class _Package(msgspec.Struct):
    ecosystem: str
    name: str


class _Range(msgspec.Struct):
    type: str
    events: list[Event] = []


class _Severity(msgspec.Struct):
    type: str
    score: str


class _Affected(msgspec.Struct):
    package: _Package | None = None  # without one, only commits are stated
    ranges: list[_Range] = []
    versions: list[str] = []
    severity: list[_Severity] = []
    ecosystem_specific: dict[str, Any] | None = None
    database_specific: dict[str, Any] | None = None


class _Entry(msgspec.Struct):
    id: str
    modified: str
    withdrawn: str | None = None
    aliases: list[str] = []
    upstream: list[str] = []
    summary: str = ""
    details: str = ""
    severity: list[_Severity] | None = None
    affected: list[_Affected] | None = None
    database_specific: dict[str, Any] | None = None


_ENTRY = msgspec.json.Decoder(_Entry)


def read_entry(data: bytes, where: str) -> tuple[Advisory, bool]:
    """Return an entry, and whether it was withdrawn. Raises `FeedInvalid`."""
    try:
        entry = _ENTRY.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FeedInvalid(where, expected="an entry of OSV", found=_reason(error)) from None
    if not entry.id or len(entry.id) > 200:
        raise FeedInvalid(where, expected="an entry of OSV with an `id`", found="none")
    rating, score = _severity(entry)
    advisory = Advisory(
        id=entry.id,
        aliases=_aliases(entry),
        summary=(entry.summary or entry.details).strip().partition("\n")[0][:_LONGEST_SUMMARY],
        severity=rating,
        score=score,
        modified=entry.modified,
        affected=tuple(
            _affected(affected) for affected in entry.affected or () if affected.package is not None
        ),
    )
    return advisory, entry.withdrawn is not None


def _affected(affected: _Affected) -> Affected:
    package = affected.package
    assert package is not None
    return Affected(
        ecosystem=package.ecosystem,
        name=normal_name(package.name) if package.ecosystem == "PyPI" else package.name,
        # Commits of GIT ranges are no versions of a package.
        ranges=tuple(tuple(each.events) for each in affected.ranges if each.type in _RANGES),
        versions=frozenset(affected.versions),
    )


def _aliases(entry: _Entry) -> frozenset[str]:
    aliases = {*entry.aliases}
    # Debian's own entries name the CVE that they are about as the only `upstream`; an update (DSA) names
    # many, of which none is its alias.
    if len(entry.upstream) == 1:
        aliases.add(entry.upstream[0])
    return frozenset(aliases)


def _severity(entry: _Entry) -> tuple[Severity, float | None]:
    """Return the rating by the highest CVSS vector, else by the word that the database states."""
    stated = [*(entry.severity or ()), *(rating for each in entry.affected or () for rating in each.severity)]
    scores = [
        score
        for each in stated
        if each.type.startswith("CVSS") and (score := score_of_vector(each.score)) is not None
    ]
    if scores:
        return rating_of_score(max(scores)), max(scores)
    places = [entry.database_specific]
    for affected in entry.affected or ():
        places += [affected.ecosystem_specific, affected.database_specific]
    # GitHub writes `severity`, Debian `urgency`.
    words = [place[key] for place in places if place for key in ("severity", "urgency") if key in place]
    words += [each.score for each in stated if each.type == "Ubuntu"]
    return worst(rating_of_word(word) for word in words if isinstance(word, str)), None


def _reason(error: Exception) -> str:
    return "JSON that is nested too deep" if isinstance(error, RecursionError) else f"{error}"
