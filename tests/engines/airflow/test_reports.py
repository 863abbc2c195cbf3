"""Reports for XCom: as small as they can be, and of what a command's JSON says."""

from __future__ import annotations

import json

from lading.airflow.reports import batch_report, monitor_report, release_report

MANIFEST = {
    "model": "iris:2",
    "bundle": "sha256:1",
    "plan": "2",
    "rows": 90_000,
    "scored": 80_000,
    "rejected": 10_000,
    "reasons": [[f"reason {at}", 1] for at in range(20)],
    "inputs": [{"name": f"{at}.csv", "sha256": "0" * 64} for at in range(5000)],
    "parts": [{"file": f"{at}.csv", "rows": 18} for at in range(5000)],
}
DOCUMENT = {
    "manifest": MANIFEST,
    "drift": [
        {"column": "age", "psi": 0.51239, "at_random": 0.01, "drifted": True},
        {"column": "income", "psi": 0.01, "at_random": 0.01, "drifted": False},
    ],
    "failed": [["age: range", 3]],
    "resumed": 2,
    "seconds": 1.23456,
}


def test_a_report_of_a_run_does_not_grow_with_its_files():
    report = batch_report(DOCUMENT, "/srv/scored")
    assert len(json.dumps(report)) < 1500
    assert (report["files"], report["rows"], report["folder"]) == (5000, 90_000, "/srv/scored")
    assert len(report["reasons"]) == 10
    assert (report["drifted"], report["drift_known"]) == ({"age": 0.5124}, True)
    assert not batch_report(DOCUMENT | {"drift": []}, "")["drift_known"]


def test_alarms_that_have_ended_are_none():
    alarms = [{"subject": "age", "ended_at": 0.0}, {"subject": "income", "ended_at": 1.0}]
    columns = [{"name": "age", "is_alarming": True}, {"name": "income", "is_alarming": False}]
    document = {
        "name": "iris", "version": 2, "rows": 5, "alarms": alarms, "columns": columns, "unknown": [],
    }  # fmt: skip
    report = monitor_report(document)
    assert (report["alarms"], report["alarming"]) == (alarms[:1], ["age"])


def test_a_release_that_is_only_looked_at_names_no_bundle():
    release = dict.fromkeys(("name", "number", "state", "live", "candidate", "reason", "actor", "salt"), 1)
    report = release_report({"release": release | {"weight_percent": 5.0}})
    assert "digest" not in report
    assert "salt" not in report
    assert release_report({"release": release | {"weight_percent": 5.0}, "digest": "d"})["digest"] == "d"
