"""JVN iPedia's feed: the RSS of MyJVN (https://jvndb.jvn.jp/apis/myjvn/), as ``jvndb.rdf`` or a yearly file.

It says which CVE an entry is about and how bad it is, but no versions: an entry gives a finding its Japanese
number, and a rating where no other feed has one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from lading.errors import FeedInvalid, missing_extra
from lading.trust.feeds import Rating
from lading.trust.severity import rating_of_score

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_RSS = "{http://purl.org/rss/1.0/}"
_TIMES = ("{http://purl.org/dc/terms/}modified", "{http://purl.org/dc/elements/1.1/}date")


class JvnList(msgspec.Struct, frozen=True):
    """One file: when it was made, how many entries it has, and what they say by CVE."""

    date: str
    entries: int
    ratings: dict[str, Rating]


def read_rss(data: bytes, where: str) -> JvnList:
    """Return JVN's feed by CVE. Raises `FeedInvalid` for other XML, and for entities of any kind."""
    root = _parse(data, where)
    items = list(root.iter(f"{_RSS}item"))
    channel = root.find(f"{_RSS}channel")
    if channel is None or not root.tag.endswith("RDF"):
        raise FeedInvalid(where, expected="the RSS of MyJVN", found=f"`{root.tag[:80]}`")
    ratings: dict[str, Rating] = {}
    for item in items:
        number = next((text(each) for each in _secured(item, "identifier")), "")
        cves = {each.get("id", "") for each in _secured(item, "references") if each.get("source") == "CVE"}
        if not number.startswith("JVNDB-"):
            raise FeedInvalid(where, expected="entries with their `JVNDB-…` number", found=f"`{number[:60]}`")
        scores = [score for each in _secured(item, "cvss") if (score := _score(each, where)) is not None]
        for cve in cves:
            before = ratings.get(cve, Rating())
            # An entry about several CVEs is not another name of each, and its score not that of each.
            names = before.names | ({number} if len(cves) == 1 else frozenset())
            score = max(scores) if scores and len(cves) == 1 else before.score
            rating = rating_of_score(score) if score is not None else before.severity
            ratings[cve] = Rating(rating, score, names)
    times = [value for owner in (channel, *items) for name in _TIMES if (value := owner.findtext(name))]
    own = next((value for name in _TIMES if (value := channel.findtext(name))), "")
    return JvnList(own or max(times, default=""), len(items), ratings)


def text(element: Element) -> str:
    """Return the text of an element without the blanks around it."""
    return (element.text or "").strip()


def _secured(item: Element, name: str) -> Iterator[Element]:
    # The namespace has had several versions: `…/rss/mod_sec/` and `…/rss/mod_sec/3.0/`.
    return (
        each
        for each in item
        if each.tag.startswith("{http://jvn.jp/rss/mod_sec") and each.tag.endswith(f"}}{name}")
    )


def _score(element: Element, where: str) -> float | None:
    # Version 2 rates differently: its "high" begins at 7, and its scores are not comparable.
    if element.get("version", "").startswith("2"):
        return None
    try:
        return float(element.get("score", ""))
    except ValueError:
        raise FeedInvalid(where, expected="a number as a score", found=f"`{element.get('score')}`") from None


def _parse(data: bytes, where: str) -> Any:
    try:
        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import ParseError, fromstring
    except ImportError as error:
        raise missing_extra(where, "trust", error) from None
    try:
        # Without a DTD there are no entities that could grow or read files (CWE-776, CWE-611).
        return fromstring(data, forbid_dtd=True)
    except ParseError as error:
        raise FeedInvalid(where, expected="XML", found=f"another form ({error})") from None
    except (DefusedXmlException, RecursionError) as error:
        raise FeedInvalid(where, expected="XML without a DTD", found=type(error).__name__) from None
