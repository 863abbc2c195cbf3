"""What is wrong with a run or with live traffic, in sentences."""

from __future__ import annotations

from typing import Any

from lading.airflow.findings import findings_in_batch, findings_in_traffic

FINE: dict[str, Any] = {"rows": 200, "rejected": 0, "drift_known": True, "drifted": {}}


def wrong(report: dict[str, Any], **limits: Any) -> list[str]:
    return findings_in_batch(report, **{"max_rejected": None, "may_drift": (), **limits}).wrong


def test_nothing_is_wrong_with_a_run_as_in_training():
    findings = findings_in_batch(FINE, max_rejected=0.0, may_drift=())
    assert (findings.wrong, findings.unknown) == ([], [])


def test_columns_that_have_drifted_are_named_the_furthest_first():
    report = FINE | {"drifted": {"age": 0.2, "income": 1.5}}
    assert wrong(report) == [
        "column `income`: expected the distribution of the training data, found another, PSI 1.50",
        "column `age`: expected the distribution of the training data, found another, PSI 0.20",
    ]
    assert len(wrong(report, may_drift=["income"])) == 1


def test_rows_set_aside_are_held_to_a_share():
    report = FINE | {"rejected": 3}
    assert wrong(report) == []
    assert wrong(report, max_rejected=0.015) == []
    assert wrong(report, max_rejected=0.01) == ["rows set aside: expected at most 1 %, found 3 of 200"]


def test_drift_that_is_not_known_is_not_fine():
    (unknown,) = findings_in_batch(FINE | {"drift_known": False}, max_rejected=None, may_drift=()).unknown
    assert "no profile" in unknown


def test_open_alarms_are_wrong_and_so_is_a_column_that_has_none_yet():
    alarm = {"name": "iris", "version": 3, "subject": "age", "text": "younger than in training"}
    findings = findings_in_traffic({"alarms": [alarm], "alarming": ["age", "income"], "unknown": ["labels"]})
    assert findings.wrong == ["`iris:3` alarms: younger than in training", "column `income` alarms"]
    assert findings.unknown == ["labels"]
