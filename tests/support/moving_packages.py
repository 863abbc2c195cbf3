"""A bundle whose answers hang on packages of a few hundred bytes, and wheels of their newer versions."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import numpy as np

from lading.bundle import Bundle
from lading.bundle.environment_lock import Pin, lock_of
from support.python_bundles import python_bundle
from support.tiny_wheels import write_wheel

CODE = """import tiny_bias
import tiny_noise
import tiny_scale

import lading


class Doubled(lading.Model):
    def predict(self, inputs):
        total = inputs["X"].sum(axis=1) * tiny_scale.factor + tiny_bias.bias
        return {"value": (total + tiny_noise.noise).astype("float32")}
"""


def numpy_wheel(folder: Path) -> Pin:
    """Write a wheel by which an environment has the numpy of this interpreter, instead of 60 MB."""
    site = sysconfig.get_path("purelib")
    path = f"import sys; sys.path.insert(0, {site!r})\n"
    return write_wheel(folder, "numpy", np.__version__, files={"here.pth": path})


def tiny(
    folder: Path, name: str, version: str, value: str, *, broken: bool = False, requires: tuple[str, ...] = ()
) -> Pin:
    """Write a version of a package with one value: ``tiny-scale`` has `factor`, others their last word."""
    word = "factor" if name == "tiny-scale" else name.removeprefix("tiny-")
    source = "raise ImportError('made for a newer numpy')\n" if broken else f"{word} = {value}\n"
    module = name.replace("-", "_")
    return write_wheel(folder, name, version, files={f"{module}/__init__.py": source}, requires=requires)


def moving_bundle(path: Path, wheels: Path, *, factor: str = "2") -> Bundle:
    """Write a bundle that should answer twice the sum, and the wheels of its lock: all at 1.0."""
    pins = [
        numpy_wheel(wheels),
        tiny(wheels, "tiny-scale", "1.0", factor),
        tiny(wheels, "tiny-bias", "1.0", "0"),
        tiny(wheels, "tiny-noise", "1.0", "0"),
    ]
    files: dict[str, bytes | Path] = {
        "code/doubled.py": CODE.encode(),
        "files/none.txt": b"",
        "environment.lock": lock_of(pins).to_bytes(),
    }
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return python_bundle(path, files, python=python)
