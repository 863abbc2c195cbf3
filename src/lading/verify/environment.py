"""What is around the model: the ONNX checker, the versions that are read here, the libraries of training.

Installs nothing and imports nothing of what training used.
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
from lading.runtime.onnx.error_text import error_sentence
from lading.runtime.onnx.opsets import check_versions, model_versions

SHARED = ("numpy", "onnxruntime")
"""Libraries that a model meets both when its golden outputs are made and when it is served."""


def check_onnx(bundle: Bundle) -> str | Check:
    """Run the ONNX checker; skipped without the package, noted where it is older than the model.

    Raises `ModelInvalid`.
    """
    if importlib.util.find_spec("onnx") is None:
        found = "the onnx package is not here; packing ran the checker"
        return Check("onnx", "skipped", found=found, hint=f"{pip_install('pack')} to repeat it")
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


def check_opset(bundle: Bundle) -> str:
    """Say IR and opsets of the model and those read here; raises `OperatorUnsupported`, `ModelInvalid`."""
    return check_versions(bundle.model_path)


def compare(manifest: Manifest) -> Check:
    """Compare the libraries of training with those here.

    Another major version of a shared library fails: the libraries promise nothing across it. Any other
    difference is noted, because the golden samples have just been answered with what is here. Libraries that
    are not installed here (a serving host has no scikit-learn) are no difference.
    """
    training = manifest.training
    differences = list(_differences(training.packages))
    broken = [one for one in differences if one[0] in SHARED and _major(one[1]) != _major(one[2])]
    shown = [f"{name} {here} (training {there})" for name, there, here in differences]
    if _minor(training.python) != _minor(platform.python_version()):
        shown.append(f"Python {platform.python_version()} (training {training.python})")
    if broken:
        expected = ", ".join(f"{name} {_major(there)}.x" for name, there, _ in broken)
        hint = "serve with the major version of training, or pack the model again with this one"
        return Check("environment", "failed", expected=expected, found=", ".join(shown), hint=hint)
    expected = f"{training.framework}, Python {training.python}, {training.platform}"
    if shown:
        return Check("environment", "noted", expected=expected, found=", ".join(shown))
    return Check(
        "environment", "passed", expected=expected, found="the same versions of what is installed here"
    )


def _differences(packages: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Return name, version of training and version here of what is installed here in another version."""
    for name, there in sorted(packages.items()):
        try:
            here = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if here != there:
            yield name, there, here


def _newer_than_checker(bundle: Bundle, onnx: Any) -> str:
    """Say what of the model is newer than the installed onnx package; empty where nothing is."""
    versions = model_versions(bundle.model_path)
    newest = {"ai.onnx": onnx.defs.onnx_opset_version()}
    found = [f"{name} {has}" for name, has in versions.opsets.items() if has > newest.get(name, has)]
    if versions.ir > onnx.IR_VERSION:
        found.insert(0, f"IR {versions.ir}")
    return ", ".join(found)


def _major(version: str) -> str:
    return version.partition(".")[0]


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
