"""In what two versions or bundles differ, for people and as JSON."""

from __future__ import annotations

import json
import re

from support.bundles import linear_bundle


def test_what_callers_may_notice_comes_first_then_metrics_size_and_evidence(lading, proved, tmp_path):
    linear_bundle(tmp_path / "narrow", features=3, labels=False)
    code, stdout, stderr = lading("diff", "iris:1", tmp_path / "narrow")
    assert code == 0, stderr
    lines = stdout.splitlines()
    assert re.match(r"input `X`, shape +\[batch, 4\] +\[batch, 3\] +may notice", lines[1])
    assert any(re.match(r"label of class `0` +setosa +none +may notice", line) for line in lines)
    assert any(re.match(r"evidence +holds on 1 runtime +none", line) for line in lines)
    assert any(re.match(r"latency p99 of one row +3 ms +unknown", line) for line in lines)
    assert "callers of `iris:1` may notice 5 differences" in stderr


def test_versions_with_one_signature_are_said_to_be_the_same_for_callers(lading, proved):
    code, _, stderr = lading("diff", "iris:1", "iris:2")
    assert code == 0
    assert "`iris:1` and `iris:2` state the same" in stderr
    assert lading("diff", "iris:1", "iris:9")[0] == 3


def test_json_has_both_sides_and_each_difference(lading, proved, tmp_path):
    linear_bundle(tmp_path / "narrow", features=3)
    document = json.loads(lading("diff", "iris:1", tmp_path / "narrow", "--json")[1])
    assert document["old"]["name"] == "iris:1"
    assert document["old"]["evidence"][0]["holds"]
    assert document["new"]["evidence"] == []
    assert {
        "where": "input `X`, shape",
        "old": "[batch, 4]",
        "new": "[batch, 3]",
        "breaks": True,
    } in document["differences"]
