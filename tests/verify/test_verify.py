"""Evidence of a bundle: every check, its numbers and its gates."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

import lading
from lading.evidence import Evidence
from lading.gates import Gates
from lading.verify import CHECKS, verify
from support.bundles import linear_bundle
from support.verified_bundles import by_name, forged, outcomes

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "verify.md"


@pytest.mark.slow
def test_a_good_bundle_passes_every_check_in_order(tmp_path):
    evidence = verify(linear_bundle(tmp_path / "b"))
    assert tuple(check.name for check in evidence.checks) == CHECKS
    assert evidence.holds
    # The packages that the test bundle names are older than those installed here.
    assert set(outcomes(evidence).values()) == {"passed", "noted"}
    assert outcomes(evidence)["environment"] == "noted"


@pytest.mark.slow
def test_evidence_names_bundle_fingerprint_and_numbers(tmp_path):
    bundle = linear_bundle(tmp_path / "b")
    evidence = verify(bundle.path)
    assert (evidence.bundle, evidence.name) == (bundle.digest, "iris")
    assert len(evidence.fingerprint.id) == 12
    assert evidence.measured_at.endswith("+00:00")
    assert set(evidence.numbers) == {
        "load_ms",
        "golden_rows",
        "golden_max_abs_error",
        "golden_label_flips",
        "latency_p50_ms",
        "latency_p99_ms",
        "latency_p50_ms_32",
        "latency_p99_ms_32",
        "memory_mb",
        "size_mb",
    }
    assert all(isinstance(number, int | float) and number >= 0 for number in evidence.numbers.values())


@pytest.mark.slow
def test_evidence_survives_json(tmp_path):
    evidence = verify(linear_bundle(tmp_path / "b"), gates=Gates(max_size_mb=1))
    assert msgspec.json.decode(msgspec.json.encode(evidence), type=Evidence) == evidence


def test_an_open_bundle_is_read_again(tmp_path):
    bundle = linear_bundle(tmp_path / "b")
    with bundle.model_path.open("ab") as file:
        file.write(b"\0")
    assert outcomes(verify(bundle))["files"] == "failed"


@pytest.mark.slow
def test_verify_is_a_function_whatever_was_imported_before():
    code = "import lading\nfrom lading.verify import replay\nprint(lading.verify.__class__.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "function\n"
    assert lading.verify is verify


@pytest.mark.slow
def test_the_page_describes_every_check_and_number(tmp_path):
    text = PAGE.read_text()
    evidence = verify(linear_bundle(tmp_path / "b"))
    assert [name for name in (*CHECKS, *evidence.numbers) if f"`{name}`" not in text] == []


@pytest.mark.slow
def test_gates_follow_the_checks_and_can_fail_the_evidence(tmp_path):
    bundle = linear_bundle(tmp_path / "b", metrics={"accuracy": 0.9})
    gates = Gates(max_latency_p99_ms=1000, max_size_mb=0.0001, min_metric={"accuracy": 0.9})
    evidence = verify(bundle, gates=gates)
    assert tuple(check.name for check in evidence.checks)[len(CHECKS) :] == (
        "max_latency_p99_ms",
        "max_size_mb",
        "min_metric.accuracy",
    )
    assert [check.name for check in evidence.failures] == ["max_size_mb"]
    assert by_name(evidence)["max_size_mb"].expected == "at most 0.0001"


@pytest.mark.slow
def test_the_live_version_is_any_object_with_metrics(tmp_path):
    bundle = linear_bundle(tmp_path / "b", metrics={"accuracy": 0.9})
    gates = Gates(no_worse_than_live={"accuracy": 0.01})
    name = "no_worse_than_live.accuracy"
    assert outcomes(verify(bundle, gates=gates))[name] == "noted"
    assert outcomes(verify(bundle, gates=gates, live=SimpleNamespace(metrics={"accuracy": 0.95})))[name] == (
        "failed"
    )


@pytest.mark.slow
def test_a_gate_on_a_number_that_was_not_measured_fails(tmp_path):
    def change(outputs):
        outputs["label"][0] += 1

    evidence = verify(forged(tmp_path / "b", change), gates=Gates(max_latency_p99_ms=1000))
    assert by_name(evidence)["max_latency_p99_ms"].outcome == "failed"
