"""Bundles for `verify`: with changed golden outputs, or of models that do not run as declared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lading.bundle import Bundle, write_bundle
from lading.evidence import Check, Evidence
from lading.signature import Signature
from support.bundles import REQUIREMENTS, linear_draft, linear_model, linear_samples
from support.onnx_graphs import bundle_of, tensor

ROWS = np.random.default_rng(3).uniform(-1, 1, (6, 4)).astype("float32")
BATCH_OF_4 = ("batch", 4)


def by_name(evidence: Evidence) -> dict[str, Check]:
    """Return the checks by name."""
    return {check.name: check for check in evidence.checks}


def outcomes(evidence: Evidence) -> dict[str, str]:
    """Return the outcome of each check by name."""
    return {check.name: check.outcome for check in evidence.checks}


def forged(folder: Path, change: Callable[[dict[str, Any]], None], **draft: Any) -> Bundle:
    """Write a bundle whose golden outputs were changed, with every digest right."""
    samples = linear_samples(linear_model())
    change(samples.outputs)
    return write_bundle(
        folder, linear_draft(**draft), model=linear_model(), samples=samples, requirements=REQUIREMENTS
    )


def declared(folder: Path, model: bytes, **changes: Any) -> Bundle:
    """Write a bundle of a model that cannot be run here, or not as declared."""
    signature = Signature(
        (tensor("X", "float32", *BATCH_OF_4),), (tensor("Y", changes.pop("dtype", "float32"), *BATCH_OF_4),)
    )
    answers = {"Y": ROWS.astype(signature.outputs[0].dtype)}
    return bundle_of(folder / "b", model, signature, {"X": ROWS}, outputs=answers, **changes)
