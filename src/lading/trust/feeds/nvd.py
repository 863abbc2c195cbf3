"""NVD's lists of CVEs, version 2.0 of their JSON (https://nvd.nist.gov/developers/vulnerabilities).

A CPE is no package: only the product ``python`` is taken for the interpreter, and one whose target software
is Python for a package of PyPI. Everything else is read for its rating alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from lading.bundle.environment_lock import normal_name
from lading.errors import FeedInvalid
from lading.trust.feeds import Advisory, Affected, Event, Rating
from lading.trust.severity import Severity, rating_of_score

# `cpe:2.3:` and eleven attributes (NISTIR 7695, section 6.2).
_CPE_PARTS = 13
_LONGEST_SUMMARY = 200


class _Score(msgspec.Struct, rename="camel"):
    base_score: float


class _Metric(msgspec.Struct, rename="camel"):
    cvss_data: _Score


class _Metrics(msgspec.Struct, rename="camel"):
    cvss_metric_v40: list[_Metric] = []
    cvss_metric_v31: list[_Metric] = []
    cvss_metric_v30: list[_Metric] = []


class _Match(msgspec.Struct, rename="camel"):
    vulnerable: bool
    criteria: str
    version_start_including: str = ""
    version_start_excluding: str = ""
    version_end_including: str = ""
    version_end_excluding: str = ""


class _Node(msgspec.Struct, rename="camel"):
    cpe_match: list[_Match] = []


class _Configuration(msgspec.Struct):
    nodes: list[_Node] = []


class _Text(msgspec.Struct):
    lang: str
    value: str


class _Cve(msgspec.Struct, rename="camel"):
    id: str
    last_modified: str
    vuln_status: str = ""
    descriptions: list[_Text] = []
    metrics: _Metrics = msgspec.field(default_factory=_Metrics)
    configurations: list[_Configuration] = []


class _Item(msgspec.Struct):
    cve: _Cve


class _List(msgspec.Struct):
    vulnerabilities: list[_Item]
    timestamp: str = ""


class NvdList(msgspec.Struct, frozen=True):
    """One file: when it was made, its ratings by CVE, and what it says of packages and the interpreter."""

    date: str
    ratings: dict[str, Rating]
    advisories: list[Advisory]


def read_list(data: bytes, where: str) -> NvdList:
    """Return a list of CVEs; rejected ones are left out. Raises `FeedInvalid`."""
    try:
        content = msgspec.json.decode(data, type=_List)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = "JSON that is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise FeedInvalid(where, expected="a list of NVD, version 2.0", found=reason) from None
    cves = [item.cve for item in content.vulnerabilities if item.cve.vuln_status != "Rejected"]
    ratings: dict[str, Rating] = {}
    for cve in cves:
        if cve.id in ratings:
            raise FeedInvalid(where, expected="each CVE once", found=f"`{cve.id[:60]}` twice")
        ratings[cve.id] = Rating(*_rating(cve.metrics))
    advisories = [advisory for cve in cves if (advisory := _advisory(cve, ratings[cve.id])) is not None]
    # Rejected ones count here: that they were rejected is news as well.
    times = [item.cve.last_modified for item in content.vulnerabilities]
    return NvdList(content.timestamp or max(times, default=""), ratings, advisories)


def _rating(metrics: _Metrics) -> tuple[Severity, float | None]:
    # The newest version of CVSS that somebody has scored; of several scores of one version, the highest.
    for scored in (metrics.cvss_metric_v40, metrics.cvss_metric_v31, metrics.cvss_metric_v30):
        if scored:
            score = max(metric.cvss_data.base_score for metric in scored)
            return rating_of_score(score), score
    return "unknown", None


def _advisory(cve: _Cve, rating: Rating) -> Advisory | None:
    affected = tuple(_packages(cve))
    if not affected:
        return None
    text = next((text.value for text in cve.descriptions if text.lang == "en"), "")
    return Advisory(
        id=cve.id,
        summary=text.strip().partition("\n")[0][:_LONGEST_SUMMARY],
        severity=rating.severity,
        score=rating.score,
        modified=cve.last_modified,
        affected=affected,
    )


def _packages(cve: _Cve) -> Iterator[Affected]:
    for configuration in cve.configurations:
        for node in configuration.nodes:
            for match in node.cpe_match:
                # Colons of a product are escaped in a CPE, which no name of a package needs.
                parts = match.criteria.split(":")
                if not match.vulnerable or len(parts) != _CPE_PARTS or parts[2] != "a":
                    continue
                vendor, product, version, target = parts[3], parts[4], parts[5], parts[10]
                if (vendor, product) == ("python", "python"):
                    yield _affected("generic", "python", version, match)
                elif target == "python":
                    yield _affected("PyPI", normal_name(product), version, match)


def _affected(ecosystem: str, name: str, version: str, match: _Match) -> Affected:
    # ANY and NA of NISTIR 7695: then the bounds beside the name say which versions.
    if version not in {"*", "-"}:
        return Affected(ecosystem=ecosystem, name=name, versions=frozenset({version}))
    # There is no event for "after": the first version after it is what `.post0` comes closest to.
    after = f"{match.version_start_excluding}.post0" if match.version_start_excluding else ""
    events = [Event(introduced=match.version_start_including or after or "0")]
    if match.version_end_excluding:
        events.append(Event(fixed=match.version_end_excluding))
    if match.version_end_including:
        events.append(Event(last_affected=match.version_end_including))
    return Affected(ecosystem=ecosystem, name=name, ranges=(tuple(events),))
