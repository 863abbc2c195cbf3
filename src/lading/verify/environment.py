"""The environment of a model: the ONNX checker, the versions that are read here, the libraries of training.

Installs nothing, and imports no library of training.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import platform
from collections.abc import Iterator
from typing import Any

from lading.bundle import Bundle, Manifest
from lading.errors import ModelInvalid, pip_install
from lading.evidence import Check
from lading.onnx_runtime.error_text import error_sentence
from lading.runtime.onnx.opsets import check_versions, model_versions

_NO_ONNX = "the model runs in Python, and has no ONNX"

SHARED = ("numpy", "onnxruntime")
"""Libraries that a model meets both when its golden outputs are made and when it is served."""


def check_onnx(bundle: Bundle) -> str | Check:
    """Run the ONNX checker; skipped without the package, noted if it is older than the model.

    Raises `ModelInvalid`.
    """
    if not bundle.has_onnx:
        return Check("onnx", "skipped", found=_NO_ONNX)
    if importlib.util.find_spec("onnx") is None:
        reason = "the onnx package is not installed; packing ran the checker"
        return Check("onnx", "skipped", found=reason, hint=f"{pip_install('pack')} to repeat it")
    # Not an import statement: the server replays through this package and must never need onnx.
    onnx: Any = importlib.import_module("onnx")
    checker: Any = importlib.import_module("onnx.checker")
    newer = _newer_than_checker(bundle, onnx)
    if newer:
        return Check("onnx", "noted", expected=f"at most what onnx {onnx.__version__} knows", found=newer)
    try:
        # By path, so that external data is looked at and a model may be larger than 2 GB.
        checker.check_model(str(bundle.model_path))
    except checker.ValidationError as error:
        where = f"model `{bundle.model_path.name}`"
        raise ModelInvalid(where, expected="a valid ONNX model", found=error_sentence(error)) from None
    return f"accepted by onnx {onnx.__version__}"


def check_opset(bundle: Bundle) -> str | Check:
    """Return IR version and opsets of the model and the newest read here, as text.

    Raises `OperatorUnsupported`, `ModelInvalid`.
    """
    if not bundle.has_onnx:
        return Check("opset", "skipped", found=_NO_ONNX)
    return check_versions(bundle.model_path)


def compare(manifest: Manifest) -> Check:
    """Compare the libraries of training with those here.

    Another major version of a shared library fails: the libraries promise nothing across it. Any other
    difference is noted, because the golden samples have just been answered with the versions here. Libraries
    that are not installed here (a serving host has no scikit-learn) are no difference.
    """
    training = manifest.training
    # Versions are compared as text: a pre-release or a local build is another version.
    differences = list(_differences(training.packages))
    incompatible = [
        (name, trained)
        for name, trained, installed in differences
        if name in SHARED and _major(trained) != _major(installed)
    ]
    lines = [f"{name} {installed} (training {trained})" for name, trained, installed in differences]
    if _minor(training.python) != _minor(platform.python_version()):
        lines.append(f"Python {platform.python_version()} (training {training.python})")
    if incompatible:
        expected = ", ".join(f"{name} {_major(trained)}.x" for name, trained in incompatible)
        hint = "serve with the major version of training, or pack the model again with this one"
        return Check("environment", "failed", expected=expected, found=", ".join(lines), hint=hint)
    expected = training.origin
    if lines:
        return Check("environment", "noted", expected=expected, found=", ".join(lines))
    return Check(
        "environment", "passed", expected=expected, found="the same versions of what is installed here"
    )


def _differences(packages: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Return (name, version of training, version here) of packages that are installed in another version."""
    for name, trained in sorted(packages.items()):
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if installed != trained:
            yield name, trained, installed


def _newer_than_checker(bundle: Bundle, onnx: Any) -> str:
    """Return the versions of the model that are newer than the installed onnx package; empty if none is."""
    versions = model_versions(bundle.model_path)
    newest = {"ai.onnx": onnx.defs.onnx_opset_version()}  # onnx has no such function for other domains
    newer = [f"{name} {opset}" for name, opset in versions.opsets.items() if opset > newest.get(name, opset)]
    if versions.ir > onnx.IR_VERSION:
        newer.insert(0, f"IR {versions.ir}")
    return ", ".join(newer)


def _major(version: str) -> str:
    return version.partition(".")[0]


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]  # 3.11 of 3.11.7: patch releases change no results
