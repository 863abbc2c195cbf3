"""How evidence is shown, and the error of evidence that failed."""

from __future__ import annotations

import msgspec

from lading.cli.ui.evidence_view import check_table, evidence_json, failure, machine, outcome
from lading.evidence import Check, Evidence
from support.recorded_evidence import ELSEWHERE


def evidence(*checks: Check) -> Evidence:
    return Evidence(
        bundle="sha256:ab",
        name="iris",
        fingerprint=ELSEWHERE,
        checks=checks,
        numbers={},
        measured_at="2026-11-20",
    )


FAILED = evidence(
    Check("files", "passed"),
    Check("golden", "failed", expected="0.5", found="0.6", hint="pack it again"),
    Check("batch", "failed"),
)


def test_the_error_describes_the_first_failure_and_names_the_others():
    error = failure(FAILED)
    assert error.message == "`iris` does not hold here, check `golden` and `batch`: expected 0.5, found 0.6"
    assert error.hint == "pack it again"


def test_the_outcome_names_every_check_that_failed():
    assert outcome(evidence(Check("files", "passed"))) == "holds"
    assert outcome(FAILED) == "fails: golden, batch"
    assert evidence_json(FAILED, "iris:1")["failed"] == ["golden", "batch"]


def test_hints_have_a_column_only_if_there_are_any(capsys):
    check_table(evidence(Check("files", "passed")))
    assert "hint" not in capsys.readouterr().out
    check_table(FAILED)
    assert "pack it again" in capsys.readouterr().out


def test_a_runtime_in_an_image_is_named_with_the_image():
    assert machine(ELSEWHERE) == "ORT 1.17.0, Python 3.10.1, debian 11 aarch64"
    in_image = msgspec.structs.replace(ELSEWHERE, image="sha256:" + "ab" * 32)
    assert machine(in_image).endswith(", image sha256:abababababab")
