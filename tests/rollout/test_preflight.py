"""What comes before a release: evidence that the bundle holds here or elsewhere, and the gates."""

from __future__ import annotations

import msgspec
import pytest

from lading.bundle import write_bundle
from lading.errors import GateNotMet, VerificationError
from lading.evidence import Check, Evidence, Fingerprint
from lading.gates import Gates
from lading.registry import Registry
from lading.rollout.preflight import check_gates, prove_anywhere, prove_here, runtime_text
from lading.runtime.host.fingerprint import fingerprint
from support.bundles import REQUIREMENTS, linear_bundle, linear_draft, linear_model, linear_samples

ELSEWHERE = Fingerprint(
    lading="0.1.0", python="3.12.1", onnxruntime="1.30.0", numpy="2.4.0", os="linux", arch="aarch64"
)


@pytest.fixture
def registry(tmp_path):
    with Registry.open(str(tmp_path / "registry")) as registry:
        yield registry


@pytest.fixture
def version(registry, tmp_path):
    return registry.push(linear_bundle(tmp_path / "iris"))


def record(registry, version, runtime: Fingerprint, *, at: str = "2026-11-20T08:00:00+00:00"):
    evidence = Evidence(
        bundle=version.digest,
        name=version.name,
        fingerprint=runtime,
        checks=(Check("golden", "passed"),),
        numbers={},
        measured_at=at,
    )
    registry.record(evidence)
    return evidence


@pytest.mark.slow
def test_a_bundle_without_evidence_is_verified_here_and_the_evidence_recorded(registry, version):
    evidence = prove_anywhere(registry, version)
    assert evidence.holds
    assert evidence.fingerprint == fingerprint()
    assert registry.evidence(version.digest) == [evidence]
    assert prove_here(registry, version) == evidence


@pytest.mark.slow
def test_evidence_from_elsewhere_is_enough_for_a_release_and_not_for_this_runtime(registry, version):
    elsewhere = record(registry, version, ELSEWHERE)
    assert prove_anywhere(registry, version) == elsewhere
    assert prove_here(registry, version).fingerprint == fingerprint()


def test_evidence_of_this_runtime_comes_before_newer_evidence_from_elsewhere(registry, version):
    here = record(registry, version, fingerprint())
    record(registry, version, ELSEWHERE, at="2026-11-27T08:00:00+00:00")
    assert prove_anywhere(registry, version) == prove_here(registry, version) == here


@pytest.mark.slow
def test_a_bundle_that_fails_here_is_refused_and_the_hint_names_where_it_holds(registry, tmp_path):
    samples = linear_samples(linear_model())
    samples.outputs["probabilities"][3, 1] += 0.01  # not what the model gives
    bundle = write_bundle(
        tmp_path / "forged", linear_draft(), model=linear_model(), samples=samples, requirements=REQUIREMENTS
    )
    version = registry.push(bundle)
    with pytest.raises(VerificationError, match="does not hold here, check `golden`"):
        prove_anywhere(registry, version)
    record(registry, version, ELSEWHERE)
    with pytest.raises(VerificationError) as caught:
        prove_here(registry, version)
    assert f"it holds on {runtime_text(ELSEWHERE)} ({ELSEWHERE.id})" in caught.value.hint
    assert prove_anywhere(registry, version).fingerprint == ELSEWHERE
    here = [evidence for evidence in registry.evidence(version.digest) if evidence.fingerprint != ELSEWHERE]
    assert [evidence.holds for evidence in here] == [False], "what was measured is recorded all the same"


def test_every_gate_that_is_not_met_is_named(registry, version):
    evidence = record(registry, version, fingerprint())
    gates = Gates(max_size_mb=1.0, max_memory_mb=1.0)
    with pytest.raises(GateNotMet, match="gate `max_size_mb` and `max_memory_mb`"):
        check_gates(gates, version, evidence, None)
    met = msgspec.structs.replace(evidence, numbers={"size_mb": 0.5, "memory_mb": 0.5})
    assert check_gates(gates, version, met, None) == ("max_size_mb", "max_memory_mb")


def test_a_gate_that_had_nothing_to_compare_with_is_not_said_to_be_met(registry, version):
    evidence = record(registry, version, fingerprint())
    gates = Gates(no_worse_than_live={"accuracy": 0.01})
    (gate,) = check_gates(gates, version, evidence, None)
    assert gate == "no_worse_than_live.accuracy? (no live version to compare with)"


def test_a_runtime_is_described_with_its_image():
    image = msgspec.structs.replace(ELSEWHERE, image="sha256:" + "ab" * 32)
    assert (
        runtime_text(image) == "ONNX Runtime 1.30.0, Python 3.12.1, linux aarch64, image sha256:abababababab"
    )
