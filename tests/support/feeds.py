"""Feeds in the forms that their publishers write, with entries made up for a test or published ones."""

from __future__ import annotations

import datetime
import json
import shutil
from pathlib import Path
from typing import Any

from lading.trust.components import PYPI, Component
from lading.trust.feeds import Feeds
from lading.trust.feeds.folder import read_feeds

PUBLISHED = Path(__file__).parents[1] / "data" / "osv"
NOW = datetime.datetime(2026, 12, 1, 12, tzinfo=datetime.UTC)
FRESH = "2026-11-30T08:00:00Z"


def osv(
    id: str,
    package: str,
    *events: dict[str, str],
    ecosystem: str = "PyPI",
    versions: tuple[str, ...] = (),
    modified: str = FRESH,
    **more: Any,
) -> dict[str, Any]:
    """Return an entry of OSV about one package, affected in one range or in the listed versions."""
    affected: dict[str, Any] = {"package": {"ecosystem": ecosystem, "name": package}}
    if events:
        affected["ranges"] = [{"type": "ECOSYSTEM", "events": list(events)}]
    if versions:
        affected["versions"] = list(versions)
    return {"schema_version": "1.6.0", "id": id, "modified": modified, "affected": [affected], **more}


def write(folder: Path, name: str, content: Any) -> Path:
    """Write a document of a feed as JSON."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def published(folder: Path, *, fresh: str = FRESH) -> Path:
    """Copy the published advisories into a folder of feeds; an entry about nothing here dates them `fresh`.

    Without such a day, their newest entry is years old.
    """
    target = folder / "pypi"
    target.mkdir(parents=True)
    for path in PUBLISHED.glob("*.json"):
        shutil.copy(path, target)
    if fresh:
        write(
            target, "other.json", osv("PYSEC-2026-1", "something-else", {"introduced": "0"}, modified=fresh)
        )
    return folder


def pypi(name: str, version: str) -> Component:
    """Return a package of PyPI as a component."""
    return Component(ecosystem=PYPI, name=name, version=version)


def read(folder: Path, *components: Component) -> Feeds:
    """Read the feeds of a folder for some components."""
    return read_feeds(folder, components)


NVD = {
    "format": "NVD_CVE",
    "version": "2.0",
    "timestamp": "2026-11-30T01:02:03.123",
    "vulnerabilities": [
        {
            "cve": {
                "id": "CVE-2020-1747",
                "sourceIdentifier": "secalert@redhat.com",
                "published": "2020-03-24T15:15:12.560",
                "lastModified": "2024-11-21T05:11:17.943",
                "vulnStatus": "Modified",
                "descriptions": [{"lang": "en", "value": "A vulnerability was discovered in PyYAML."}],
                "metrics": {
                    "cvssMetricV31": [
                        {
                            "source": "nvd@nist.gov",
                            "type": "Primary",
                            "cvssData": {
                                "version": "3.1",
                                "vectorString": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
                                "baseScore": 9.8,
                                "baseSeverity": "CRITICAL",
                            },
                        }
                    ]
                },
                "configurations": [],
            }
        },
        {
            "cve": {
                "id": "CVE-2024-0450",
                "lastModified": "2026-11-01T00:00:00.000",
                "vulnStatus": "Analyzed",
                "descriptions": [{"lang": "en", "value": "zipfile is quoted-overlap vulnerable."}],
                "metrics": {"cvssMetricV31": [{"cvssData": {"baseScore": 6.2}}]},
                "configurations": [
                    {
                        "nodes": [
                            {
                                "operator": "OR",
                                "negate": False,
                                "cpeMatch": [
                                    {
                                        "vulnerable": True,
                                        "criteria": "cpe:2.3:a:python:python:*:*:*:*:*:*:*:*",
                                        "versionStartIncluding": "3.11.0",
                                        "versionEndExcluding": "3.11.8",
                                    },
                                    {
                                        "vulnerable": True,
                                        "criteria": "cpe:2.3:a:acme:tables:*:*:*:*:*:python:*:*",
                                        "versionEndIncluding": "2.0",
                                    },
                                    {
                                        "vulnerable": True,
                                        "criteria": "cpe:2.3:o:debian:debian_linux:10.0:*:*:*:*:*:*:*",
                                    },
                                ],
                            }
                        ]
                    }
                ],
            }
        },
    ],
}

JVN = """<?xml version="1.0" encoding="UTF-8"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"
  xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/"
  xmlns:sec="http://jvn.jp/rss/mod_sec/" xml:lang="ja">
  <channel rdf:about="https://jvndb.jvn.jp/ja/rss/jvndb_new.rdf">
    <title>JVNDB RSS Feed - New Entry</title>
    <dc:date>2026-11-30T17:00:13+09:00</dc:date>
    <dcterms:modified>2026-11-30T17:00:13+09:00</dcterms:modified>
  </channel>
  <item rdf:about="https://jvndb.jvn.jp/ja/contents/2021/JVNDB-2021-003622.html">
    <title>PyYAML における入力確認に関する脆弱性</title>
    <sec:identifier>JVNDB-2021-003622</sec:identifier>
    <sec:references source="CVE" id="CVE-2020-14343">https://www.cve.org/CVERecord?id=CVE-2020-14343</sec:references>
    <sec:references source="NVD" id="CVE-2020-14343">https://nvd.nist.gov/vuln/detail/CVE-2020-14343</sec:references>
    <sec:references title="CWE-20" id="CWE-20">https://cwe.mitre.org/data/definitions/20.html</sec:references>
    <sec:cpe version="2.2" vendor="PyYAML" product="PyYAML">cpe:/a:pyyaml:pyyaml</sec:cpe>
    <sec:cvss version="2.0" score="10.0" type="Base" severity="High" vector="AV:N/AC:L/Au:N/C:C/I:C/A:C"/>
    <sec:cvss version="3.0" score="9.8" type="Base" severity="Critical"
      vector="CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"/>
    <dcterms:modified>2021-10-01T11:52+09:00</dcterms:modified>
  </item>
</rdf:RDF>
"""

PYTHON_OLD = [
    {"cycle": "3.12", "releaseDate": "2023-10-02", "eol": "2028-10-31", "latest": "3.12.3", "lts": False},
    {"cycle": "3.8", "releaseDate": "2019-10-14", "eol": "2024-10-07", "latest": "3.8.20", "lts": False},
]

NUMPY = {
    "schema_version": "1.2.0",
    "generated_at": "2026-11-29T00:00:00+00:00",
    "result": {
        "name": "numpy",
        "label": "NumPy",
        "releases": [
            {"name": "2.4", "isEol": False, "eolFrom": None, "latest": {"name": "2.4.6"}},
            {"name": "1.26", "isEol": True, "eolFrom": "2025-09-17", "latest": {"name": "1.26.4"}},
        ],
    },
}
