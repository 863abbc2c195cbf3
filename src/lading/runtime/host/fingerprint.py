"""The versions that a model runs on here, as `Fingerprint`. Names the kind of machine, never the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping

import numpy as np

import lading
from lading.evidence import Fingerprint
from lading.onnx_runtime import import_onnxruntime

IMAGE_VARIABLE = "LADING_IMAGE"
"""Set inside a serving image to the image's digest: a fact about the place, not a setting."""


def fingerprint(environ: Mapping[str, str] = os.environ) -> Fingerprint:
    """Read the versions that are installed here; raises `ExtraMissing` without ONNX Runtime."""
    return Fingerprint(
        lading=lading.__version__,
        python=platform.python_version(),
        onnxruntime=str(import_onnxruntime().__version__),
        numpy=np.__version__,
        os=_operating_system(),
        arch=platform.machine(),
        image=image_here(environ),
    )


def image_here(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the digest of the image that this process runs in, or None outside an image of lading."""
    return environ.get(IMAGE_VARIABLE) or None


def _operating_system() -> str:
    """Return distribution and version (``debian 12``); outside Linux the system and its release."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return f"{platform.system()} {platform.release()}".strip().lower()
    return f"{release.get('ID', 'linux')} {release.get('VERSION_ID', '')}".strip()
