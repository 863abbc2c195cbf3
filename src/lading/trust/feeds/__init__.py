"""What feeds say: advisories, cycles of products that end, and how old each feed is.

This file holds the words; ``osv``, ``nvd``, ``jvn`` and ``end_of_life`` each read one form of file into them,
and ``folder`` reads a folder of such files. Feeds are files: nothing here asks a server.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Literal

import msgspec

from lading.errors import FeedInvalid
from lading.trust.severity import Severity

FeedKind = Literal["osv", "nvd", "jvn", "end-of-life"]


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One end of a range of versions: exactly one of these is set."""

    introduced: str = ""
    fixed: str = ""
    last_affected: str = ""
    limit: str = ""


class Affected(msgspec.Struct, frozen=True, kw_only=True):
    """The versions of one package that an advisory is about."""

    ecosystem: str
    name: str
    ranges: tuple[tuple[Event, ...], ...] = ()
    versions: frozenset[str] = frozenset()


class Advisory(msgspec.Struct, frozen=True, kw_only=True):
    """A published vulnerability, by all of its names."""

    id: str
    aliases: frozenset[str] = frozenset()
    summary: str = ""
    severity: Severity = "unknown"
    score: float | None = None
    modified: str = ""
    affected: tuple[Affected, ...] = ()


class Rating(msgspec.Struct, frozen=True):
    """What a feed says of a vulnerability without saying which packages have it: how bad, and other names."""

    severity: Severity = "unknown"
    score: float | None = None
    names: frozenset[str] = frozenset()


class Cycle(msgspec.Struct, frozen=True, kw_only=True):
    """A series of releases of a product, such as Python 3.11: when its support ends, if that is known."""

    product: str
    name: str
    ends: str = ""  # a date; empty if none is stated
    ended: bool | None = None  # if a feed says so without a date
    extended: str = ""  # the date until which somebody supports it for longer


class FeedState(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """One feed: where it is, what it covers, and how old it is."""

    kind: FeedKind
    name: str  # the path in the folder of feeds
    date: str  # ISO time of the newest entry, or of the feed itself
    date_of: Literal["newest entry", "feed", "file"] = "newest entry"
    entries: int = 0
    covers: tuple[str, ...] = ()  # ecosystems, or products


class Feeds(msgspec.Struct, frozen=True, kw_only=True):
    """What all feeds of a folder say about the packages that were asked for."""

    states: tuple[FeedState, ...] = ()
    # By ecosystem family and normal name: `("PyPI", "jinja2")`.
    advisories: Mapping[tuple[str, str], tuple[Advisory, ...]] = {}
    ratings: Mapping[str, Rating] = {}  # by CVE
    cycles: Mapping[str, tuple[Cycle, ...]] = {}  # by product

    @property
    def ecosystems(self) -> frozenset[str]:
        """The ecosystems that some feed of vulnerabilities covers."""
        return frozenset(
            name for state in self.states if state.kind != "end-of-life" for name in state.covers
        )


def iso_moment(text: str, where: str) -> datetime.datetime:
    """Return a time of a feed; one without a zone is UTC, as NVD's. Raises `FeedInvalid`."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise FeedInvalid(where, expected="a time (ISO 8601)", found=f"`{text[:60]}`") from None
    # Moments with and without a zone cannot be compared.
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def newest(times: list[str], where: str) -> str:
    """Return the newest of the times of a feed, in UTC to the second; empty without any."""
    if not times:
        return ""
    moment = max(iso_moment(text, where) for text in times).astimezone(datetime.UTC)
    return moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")
