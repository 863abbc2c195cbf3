"""Bundles of format 2: code with an environment, and what else that format holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lading.bundle import Bundle, Draft, Samples, Training, write_bundle
from lading.bundle.formats.v2 import file_formats, what_loading_executes
from lading.parity import Tolerance
from lading.signature import Signature, Tensor

LOCK = b"numpy==2.4.6 --hash=sha256:" + 64 * b"a" + b"\n"
CODE = b"""import lading


class Doubled(lading.Model):
    def load(self, files):
        self.factor = float((files / "factor.txt").read_text())

    def predict(self, inputs):
        return {"value": inputs["X"].sum(axis=1) * self.factor}
"""
FILES: dict[str, bytes | Path] = {
    "code/doubled.py": CODE,
    "files/factor.txt": b"2",
    "environment.lock": LOCK,
}


def python_draft(name: str = "doubled", **changes: Any) -> Draft:
    """Say what the manifest of `CODE` says; `changes` replace fields of the draft."""
    fields: dict[str, Any] = {
        "name": name,
        "runtime": "python",
        "signature": Signature(
            inputs=(Tensor(name="X", dtype="float32", shape=("batch", 2), columns=("a", "b")),),
            outputs=(Tensor(name="value", dtype="float32", shape=("batch",)),),
        ),
        "labels": {},
        "purpose": "regression",
        "owner": "ml@example.com",
        "description": "",
        "metrics": {},
        "tolerance": Tolerance(),
        "expected_from": "doubled.Doubled",
        "training": Training(
            python="3.11.7", platform="linux-x86_64", framework="python 3.11.7", packages={"numpy": "2.4.6"}
        ),
        "python": "3.11",
        "entry": "doubled:Doubled",
        "steps": ("code:predict",),
    }
    return Draft(**(fields | changes))


def python_bundle(path: Path, files: dict[str, bytes | Path] | None = None, **changes: Any) -> Bundle:
    """Write a bundle of `CODE`, or of other `files`; `changes` replace fields of its draft."""
    files = FILES if files is None else files
    derived = {"formats": file_formats(files), "executes": what_loading_executes(files)}
    x = np.array([[1.0, 2.0], [3.0, 4.0], [0.5, 0.25]], dtype=np.float32)
    samples = Samples(inputs={"X": x}, outputs={"value": x.sum(axis=1) * np.float32(2)}, rows=3)
    draft = python_draft(**(derived | changes))
    return write_bundle(path, draft, model=None, samples=samples, requirements="numpy==2.4.6\n", more=files)
