"""A folder of feeds, read for the packages that somebody asks about. Keeps nothing else of it in memory."""

from __future__ import annotations

import datetime
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import msgspec

from lading.errors import FeedInvalid
from lading.trust.components import Component
from lading.trust.feeds import Advisory, Cycle, FeedKind, Feeds, FeedState, Rating, newest
from lading.trust.feeds.documents import Document, Limits, documents_in
from lading.trust.feeds.end_of_life import read_products
from lading.trust.feeds.jvn import read_rss
from lading.trust.feeds.nvd import read_list
from lading.trust.feeds.osv import read_entry
from lading.trust.severity import worst

_Key = tuple[str, str]


class _Source:
    """What was read of one feed so far."""

    def __init__(self) -> None:
        self.entries = 0
        self.times: list[str] = []
        self.date_of: Literal["newest entry", "feed", "file"] = "newest entry"
        self.covers: set[str] = set()
        self.ids: set[str] = set()


_ABSENT = msgspec.Raw(b"")


# Raw values: only which keys an object has is asked, and nothing in them is decoded.
class _Probe(msgspec.Struct):
    id: msgspec.Raw = _ABSENT
    format: msgspec.Raw = _ABSENT
    result: msgspec.Raw = _ABSENT
    cycle: msgspec.Raw = _ABSENT


def read_feeds(folder: Path, components: Collection[Component], limits: Limits | None = None) -> Feeds:
    """Return what the feeds in `folder`, which may be one file, say about `components`.

    Raises `FeedInvalid` naming the file that cannot be read as any feed. Files of other kinds are ignored.
    """
    if not folder.exists():
        raise FeedInvalid(f"feeds `{folder}`", expected="a folder or a file", found="nothing there")
    reader = _Reader(components)
    for document in documents_in(folder, limits or Limits()):
        reader.add(document)
    return reader.feeds()


class _Reader:
    def __init__(self, components: Collection[Component]) -> None:
        self._wanted = {key for component in components for key in names_of(component)}
        self._sources: dict[tuple[FeedKind, str], _Source] = {}
        # By id: the same entry may be in several feeds, of which the one that changed last counts.
        self._advisories: dict[str, Advisory] = {}
        self._withdrawn: dict[str, str] = {}
        self._ratings: dict[str, Rating] = {}
        self._cycles: dict[str, list[Cycle]] = {}

    def add(self, document: Document) -> None:
        """Read one document, whose content says which kind of feed it is of."""
        data = document.data.lstrip(b"\xef\xbb\xbf \t\r\n")
        if data[:1] == b"<":
            self._add_jvn(document)
            return
        for part, where in _parts(data, document):
            match _kind(part, where):
                case "nvd":
                    self._add_nvd(part, where, document)
                case "end-of-life":
                    self._add_products(data, document)
                    return
                case _:
                    self._add_entry(part, where, document)

    def feeds(self) -> Feeds:
        """Return everything that was read."""
        by_name: dict[_Key, list[Advisory]] = {}
        for advisory in self._advisories.values():
            for key in {(each.ecosystem.partition(":")[0], each.name) for each in advisory.affected}:
                by_name.setdefault(key, []).append(advisory)
        states = [
            FeedState(
                kind=kind,
                name=name,
                date=newest(source.times, f"feed `{name}`"),
                date_of=source.date_of,
                entries=source.entries,
                covers=tuple(sorted(source.covers)),
            )
            for (kind, name), source in self._sources.items()
        ]
        return Feeds(
            states=tuple(sorted(states)),
            advisories={
                key: tuple(sorted(each, key=lambda advisory: advisory.id)) for key, each in by_name.items()
            },
            ratings=self._ratings,
            cycles={product: tuple(cycles) for product, cycles in self._cycles.items()},
        )

    def _source(self, kind: FeedKind, document: Document) -> _Source:
        return self._sources.setdefault((kind, document.source), _Source())

    def _add_entry(self, data: bytes, where: str, document: Document) -> None:
        advisory, is_withdrawn = read_entry(data, where)
        source = self._source("osv", document)
        if advisory.id in source.ids:
            raise FeedInvalid(where, expected="each entry once in a feed", found=f"`{advisory.id}` twice")
        source.ids.add(advisory.id)
        source.entries += 1
        source.times.append(advisory.modified)
        if len(source.times) > 1000:
            source.times = [newest(source.times, where)]
        source.covers |= {each.ecosystem for each in advisory.affected}
        self._keep(advisory, is_withdrawn=is_withdrawn)

    def _keep(self, advisory: Advisory, *, is_withdrawn: bool) -> None:
        names = {(each.ecosystem.partition(":")[0], each.name) for each in advisory.affected}
        # A database of a hundred thousand entries is read, and some hundred of them are kept.
        if not names & self._wanted:
            return
        before = self._advisories.get(advisory.id)
        modified = max(before.modified if before else "", self._withdrawn.get(advisory.id, ""))
        # Times of OSV are UTC with a `Z`, which sort as texts.
        if advisory.modified < modified:
            return
        if is_withdrawn:
            self._withdrawn[advisory.id] = advisory.modified
            self._advisories.pop(advisory.id, None)
        else:
            self._advisories[advisory.id] = advisory

    def _add_nvd(self, data: bytes, where: str, document: Document) -> None:
        content = read_list(data, where)
        source = self._source("nvd", document)
        source.entries += len(content.ratings)
        source.date_of = "feed"
        source.times += [content.date] if content.date else []
        source.covers.add("generic")
        self._add_ratings(content.ratings)
        for advisory in content.advisories:
            self._keep(advisory, is_withdrawn=False)

    def _add_jvn(self, document: Document) -> None:
        content = read_rss(document.data, document.where)
        source = self._source("jvn", document)
        source.entries += content.entries
        source.date_of = "feed"
        source.times += [content.date] if content.date else []
        self._add_ratings(content.ratings)

    def _add_ratings(self, ratings: dict[str, Rating]) -> None:
        for cve, rating in ratings.items():
            both = (self._ratings.get(cve, Rating()), rating)
            scores = [each.score for each in both if each.score is not None]
            severity = worst(each.severity for each in both)
            self._ratings[cve] = Rating(severity, max(scores, default=None), both[0].names | both[1].names)

    def _add_products(self, data: bytes, document: Document) -> None:
        content = read_products(data, document.where, document.path)
        source = self._source("end-of-life", document)
        source.entries += len(content.cycles)
        if content.date:
            source.date_of = "feed"
            source.times.append(content.date)
        else:
            # The older form of the API has no date: that of the file is when somebody fetched it.
            source.date_of = "file"
            moment = datetime.datetime.fromtimestamp(document.modified_at, datetime.UTC)
            source.times.append(moment.isoformat())
        for cycle in content.cycles:
            source.covers.add(cycle.product)
            self._cycles.setdefault(cycle.product, []).append(cycle)


def names_of(component: Component) -> list[_Key]:
    """Return under which names advisories may be about a component: in Debian, its source package."""
    family = component.ecosystem.partition(":")[0]
    names = [component.source or component.name] if family == "Debian" else [component.name]
    return [(family, name) for name in names]


def _parts(data: bytes, document: Document) -> list[tuple[bytes, str]]:
    """Return the entries of a document that is a list, else the document itself."""
    if data[:1] != b"[":
        return [(data, document.where)]
    try:
        entries = msgspec.json.decode(data, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _no_feed(document.where, error) from None
    return [(bytes(entry), f"{document.where}, entry {at}") for at, entry in enumerate(entries, 1)]


def _kind(data: bytes, where: str) -> FeedKind:
    try:
        probe = msgspec.json.decode(data, type=_Probe)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _no_feed(where, error) from None
    if bytes(probe.format) == b'"NVD_CVE"':
        return "nvd"
    if bytes(probe.result) or bytes(probe.cycle):
        return "end-of-life"
    if not bytes(probe.id):
        expected = "a feed of OSV, NVD, JVN or endoflife.date"
        raise FeedInvalid(where, expected=expected, found="JSON of another form")
    return "osv"


def _no_feed(where: str, error: Exception) -> FeedInvalid:
    reason = "JSON that is nested too deep" if isinstance(error, RecursionError) else str(error)
    return FeedInvalid(where, expected="JSON of a feed", found=reason)
