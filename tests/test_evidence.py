"""Evidence: which checks make it fail, and the id of what it was measured on."""

from __future__ import annotations

import msgspec
import pytest

from lading.evidence import Check, Evidence, Fingerprint

FINGERPRINT = Fingerprint(
    lading="0.1.0", python="3.11.7", onnxruntime="1.31.1", numpy="2.4.0", os="Debian 12", arch="x86_64"
)


def evidence(*outcomes: str) -> Evidence:
    checks = tuple(Check(f"check {at}", outcome) for at, outcome in enumerate(outcomes))
    return Evidence(
        bundle="sha256:0",
        name="iris",
        fingerprint=FINGERPRINT,
        checks=checks,
        numbers={},
        measured_at="2026-11-28T08:00:00+00:00",
    )


@pytest.mark.parametrize("outcomes", [(), ("skipped",), ("noted", "skipped")])
def test_evidence_without_any_check_that_passed_shows_nothing(outcomes):
    assert not evidence(*outcomes).holds


@pytest.mark.parametrize("outcome", ["passed", "noted", "skipped"])
def test_evidence_holds_without_a_failed_check(outcome):
    assert evidence("passed", outcome).holds
    assert evidence(outcome).failures == ()


def test_one_failed_check_makes_evidence_fail_and_is_named():
    measured = evidence("passed", "failed", "noted")
    assert not measured.holds
    assert [check.name for check in measured.failures] == ["check 1"]


def test_the_id_of_a_fingerprint_is_the_same_for_the_same_values_and_differs_with_each_of_them():
    same = msgspec.json.decode(msgspec.json.encode(FINGERPRINT), type=Fingerprint)
    assert same.id == FINGERPRINT.id
    changed = [
        msgspec.structs.replace(FINGERPRINT, **{name: "other"}) for name in FINGERPRINT.__struct_fields__
    ]
    assert len({FINGERPRINT.id, *(fingerprint.id for fingerprint in changed)}) == 1 + len(changed)
    assert len(FINGERPRINT.id) == 12


def test_evidence_is_false_where_it_does_not_hold():
    assert evidence("passed", "noted")
    assert not evidence("passed", "failed")
    assert "fails `check 1`" in repr(evidence("passed", "failed"))
    assert "holds: 2 checks" in repr(evidence("passed", "skipped"))
