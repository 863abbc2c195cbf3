"""ONNX Runtime, imported in one place with its telemetry off and its log silent. Opens no session."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from lading.errors import missing_extra

LOG_FATAL = 4
"""ONNX Runtime's highest log level. What it would log as an error it also raises."""


@cache
def import_onnxruntime(extra: str = "serve") -> Any:
    """Import ONNX Runtime; raises `ExtraMissing`, whose hint names the `extra` that brings it."""
    # Since 1.30 it writes a device id below ~/.cache/Microsoft and calls home unless this is set before the
    # import; `disable_telemetry_events()` comes too late (tests/test_onnx_runtime.py).
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_extra("ONNX Runtime", extra, error) from None
    onnxruntime.set_default_logger_severity(LOG_FATAL)
    return onnxruntime
