"""Scans by the command line: what is printed, which exit code, and what the registry keeps."""

from __future__ import annotations

import datetime
import json
import re

import pytest

from lading.registry import Registry
from lading.replica import Replica, ReplicaModel
from lading.trust.scan import SCAN_TYPE
from support.bundles import linear_bundle
from support.feeds import NUMPY, osv, published, write

OLD = "jinja2==2.10\nnumpy==2.0.0\npyyaml==5.1\n"
"""What the bundle of these tests was trained with."""


@pytest.fixture
def old(tmp_path):
    return linear_bundle(tmp_path / "old.bundle", requirements=OLD)


@pytest.fixture
def feeds(tmp_path, today):
    return published(tmp_path / "feeds", fresh=f"{today}T00:00:00Z")


@pytest.fixture
def today():
    """Return the day, by which commands judge how old a feed is."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def test_published_vulnerabilities_are_listed_with_the_date_of_the_feed(lading, old, feeds, today):
    code, stdout, stderr = lading("scan", old.path, "--feeds", feeds)
    assert code == 0, stderr
    lines = stdout.splitlines()
    assert lines[1].startswith("high 8.6")
    assert "jinja2 2.10 (training)" in lines[1]
    assert "CVE-2019-10906, GHSA-462w-v97r-4m45, PYSEC-2019-217" in lines[1]
    assert sum("pyyaml 5.1" in line for line in lines) == 2
    assert f"feed osv `pypi`: newest entry of {today}, 7 entries (PyPI)" in stderr
    assert "`iris`: 3 findings (1 high, 2 unknown); 3 of 3 components checked" in stderr
    assert "`unknown` means that no feed rates it, not that it is low" in stderr


@pytest.mark.parametrize(
    ("limit", "code", "sentence"),
    [
        (
            "medium",
            1,
            "expected nothing above `medium`, found CVE-2019-10906 (high) in jinja2 2.10 and 2 more",
        ),
        ("high", 1, "expected nothing above `high`, found CVE-2020-14343 (unknown) in pyyaml 5.1 and 1 more"),
        ("critical", 0, "3 findings"),
    ],
)
def test_a_limit_is_exceeded_by_what_is_worse_and_by_what_is_not_rated(
    lading, old, feeds, limit, code, sentence
):
    ended, _, stderr = lading("scan", old.path, "--feeds", feeds, "--max", limit)
    assert (ended, sentence in stderr) == (code, True), stderr


def test_without_a_feed_nothing_is_said_to_be_free_of_vulnerabilities(lading, old, tmp_path):
    code, stdout, stderr = lading("scan", old.path)
    assert code == 0
    assert "not checked: no feed: jinja2 2.10, numpy 2.0.0, pyyaml 5.1" in stdout
    assert stderr == "`iris`: not checked: no feed\n"
    (tmp_path / "empty").mkdir()
    code, _, stderr = lading("scan", old.path, "--feeds", tmp_path / "empty", "--max", "high")
    assert code == 1
    assert "`iris`: expected a scan with nothing above `high`, found no feed" in stderr


def test_a_stale_feed_has_an_exit_code_of_its_own(lading, old, tmp_path):
    feeds = published(tmp_path / "stale", fresh="")
    code, stdout, stderr = lading("scan", old.path, "--feeds", feeds)
    assert (code, stdout) == (5, "")
    assert "feed `pypi`: expected one of the last 14 days, found its newest entry of 2023-08-30" in stderr
    assert lading("scan", old.path, "--feeds", feeds, "--max-age", "40000")[0] == 0


def test_what_is_no_feed_is_refused(lading, old, tmp_path):
    (tmp_path / "a.json").write_text("{}")
    code, _, stderr = lading("scan", old.path, "--feeds", tmp_path / "a.json")
    assert code == 1
    assert "feed `a.json`: expected a feed of OSV, NVD, JVN or endoflife.date" in stderr


def test_what_is_past_its_end_of_life_is_listed(lading, tmp_path, feeds):
    write(feeds, "end-of-life/numpy.json", NUMPY | {"generated_at": "2090-01-01T00:00:00Z"})
    bundle = linear_bundle(tmp_path / "b", requirements="numpy==1.26.4\nonnxruntime==1.20.0\n")
    _, stdout, stderr = lading("scan", bundle.path, "--feeds", feeds)
    assert "end of life: numpy 1.26.4: cycle 1.26 ended on 2025-09-17" in stdout
    assert "not checked: end of life: no feed has this product: onnxruntime 1.20.0" in stdout
    assert "feed end-of-life `end-of-life`: feed of 2090-01-01" in stderr


def test_the_scan_of_a_version_is_recorded_and_json_is_what_is_recorded(
    lading, tmp_path, registry, old, feeds, monkeypatch
):
    with Registry.open(str(registry)) as opened:
        opened.push(old)
    monkeypatch.setenv("LADING_FEEDS", str(feeds))
    code, stdout, _ = lading("scan", "iris:1", "--json")
    assert code == 0
    (document,) = json.loads(stdout)
    assert document["subject"]["digest"] == old.digest
    assert [each["id"] for each in document["findings"]] == [
        "CVE-2019-10906",
        "CVE-2020-14343",
        "CVE-2020-1747",
    ]
    with Registry.open(str(registry)) as opened:
        (attached,) = opened.attachments.of(old.digest, "scan")
    assert attached.media_type == SCAN_TYPE
    assert json.loads(attached.body) == document


def test_a_document_of_cyclonedx_is_scanned_as_what_it_was_written_of(lading, old, feeds, tmp_path):
    lading("sbom", old.path, "-o", "iris.cdx.json")
    code, stdout, _ = lading("scan", tmp_path / "iris.cdx.json", old.path, "--feeds", feeds, "--json")
    assert code == 0
    of_document, of_bundle = json.loads(stdout)
    assert of_document["findings"] == of_bundle["findings"]


def test_a_feed_with_nothing_against_a_bundle_is_not_called_proof(lading, bundle, tmp_path):
    write(tmp_path / "feeds", "a.json", osv("A-1", "tables", {"introduced": "0"}, modified="2090-01-01"))
    _, _, stderr = lading("scan", bundle.path, "--feeds", tmp_path / "feeds")
    assert "`iris`: the feeds list nothing against it; 2 of 2 components checked" in stderr
    assert "no vulnerabilities" not in stderr


@pytest.fixture
def server(registry):
    """Register a server that runs jinja2 2.10 with a model, and one whose packages nobody knows."""
    iris = ReplicaModel(name="iris", version=1, digest="sha256:" + "1" * 64, state="ready")
    with Registry.open(str(registry)) as opened:
        opened.fleet.beat(
            Replica(id="web-1", packages={"jinja2": "2.10"}, python="3.11.7", os="debian 12", models=(iris,))
        )
        opened.fleet.beat(Replica(id="web-2"))


def test_what_servers_run_is_scanned_and_the_inventory_says_so(lading, server, feeds):
    assert json.loads(lading("inventory", "--json")[1])["replicas"][0]["exposure"]["unscanned"] == ["web-1"]
    code, stdout, stderr = lading("scan", "--running", "--feeds", feeds)
    assert code == 0, stderr
    assert re.search(r"web-1 +\(server\) +high 8.6 +jinja2 2.10 +CVE-2019-10906", stdout)
    assert "not checked: web-2 on `web-2`: no packages are known" in stdout
    assert "1 finding in what 2 servers run" in stderr
    first, second = lading("inventory")[1].splitlines()[1:]
    assert "1, high" in first
    assert "not scanned" in second


def test_a_limit_holds_for_what_runs_and_json_has_each_server(lading, server, feeds):
    code, stdout, stderr = lading("scan", "--running", "--feeds", feeds, "--max", "medium", "--json")
    assert code == 1
    assert "server `web-1`: expected nothing above `medium`, found CVE-2019-10906 (high)" in stderr
    document = json.loads(stdout)
    assert [(each["server"], each["finding"]["id"]) for each in document["running"]] == [
        ("web-1", "CVE-2019-10906")
    ]
    assert document["not_checked"] == {"web-2": ["web-2"]}
    # What cannot be scanned is not below a limit.
    assert lading("scan", "--running", "--feeds", feeds, "--max", "high")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("scan",), "expected what to scan, or `--running`, found neither"),
        (("scan", "--watch", "iris"), "expected what to scan, or `--running`, found neither"),
        (("scan", "--running"), "`--running` needs feeds: without any, nothing is checked"),
        (("scan", "--running", "iris", "--feeds", "."), "takes no other subjects"),
    ],
)
def test_a_call_that_asks_for_nothing_is_refused(lading, registry, arguments, sentence):
    code, _, stderr = lading(*arguments)
    assert (code, sentence in stderr) == (2, True), stderr
