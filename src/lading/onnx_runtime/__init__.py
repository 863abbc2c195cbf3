"""ONNX Runtime, imported in one place with its telemetry off and its log silent. Opens no session."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from lading.errors import missing_extra

LOG_FATAL = 4
"""ONNX Runtime's highest log level. What it would log as an error it also raises."""

SHARED_MEMORY_OPTION = ("session.use_env_allocators", "1")
"""The entry of a session's options by which `limit_memory` holds for it; without a limit it does nothing."""


@cache
def import_onnxruntime(extra: str = "serve") -> Any:
    """Import ONNX Runtime; raises `ExtraMissing`, whose hint names the `extra` that brings it."""
    # Since 1.30 it writes a device id below ~/.cache/Microsoft and calls home unless this is set before the
    # import; `disable_telemetry_events()` comes too late (tests/onnx_runtime/test_onnx_runtime.py).
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_extra("ONNX Runtime", extra, error) from None
    onnxruntime.set_default_logger_severity(LOG_FATAL)
    return onnxruntime


@cache
def limit_memory(max_bytes: int) -> None:
    """Let the sessions of this process take at most `max_bytes` together; once, before the first is opened.

    0 is no limit. A run that would need more fails, and the next one goes on. Weights count; what numpy
    holds does not.
    """
    if max_bytes <= 0:
        return
    ort = import_onnxruntime()
    kind, place = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, ort.OrtMemType.DEFAULT
    arena = ort.OrtArenaCfg({"max_mem": max_bytes})
    ort.create_and_register_allocator(ort.OrtMemoryInfo("Cpu", kind, 0, place), arena)
