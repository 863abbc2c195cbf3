"""Evidence of versions, recorded without verifying them, and a bundle that does not hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lading.bundle import Bundle, write_bundle
from lading.evidence import Check, Evidence, Fingerprint
from lading.registry import ModelVersion, Registry
from support.bundles import REQUIREMENTS, linear_draft, linear_model, linear_samples

ELSEWHERE = Fingerprint(
    lading="0.1.0", python="3.10.1", onnxruntime="1.17.0", numpy="1.26.0", os="debian 11", arch="aarch64"
)
"""The runtime of another machine."""


def push_forged(registry: Registry, folder: Path) -> str:
    """Push a bundle whose golden outputs are not those of its model; return its reference."""
    samples = linear_samples(linear_model(seed=5))
    samples.outputs["probabilities"][3, 1] += 0.01
    bundle = write_bundle(
        folder, linear_draft(), model=linear_model(seed=5), samples=samples, requirements=REQUIREMENTS
    )
    return str(registry.push(bundle).ref)


def push_proved(registry: Registry, bundle: Bundle, **options: Any) -> ModelVersion:
    """Push a bundle and record that it holds on another machine, so that it can be released."""
    version = registry.push(bundle, **options)
    record_evidence(registry, str(version.ref))
    return version


def record_evidence(registry: Registry, ref: str, fingerprint: Fingerprint = ELSEWHERE) -> None:
    """Record evidence that a version holds, by default on another machine."""
    version = registry.resolve(ref)
    registry.record(
        Evidence(
            bundle=version.digest,
            name=version.name,
            fingerprint=fingerprint,
            checks=(Check("golden", "passed"),),
            numbers={"latency_p99_ms": 3.0},
            measured_at="2026-11-20T08:00:00+00:00",
        )
    )
