"""How much memory one model takes, as a process of its own: ``python -m lading.verify.memory_probe DIR 1``.

Prints one JSON object. Imported by nothing in lading: the process that verifies has freed memory in its heap,
and a second load there would use it and seem to take none.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lading.bundle import Bundle
from lading.onnx_runtime import import_onnxruntime
from lading.runtime.open import open_runtime
from lading.verify.golden_replay import repeat_rows

_STATUS = Path("/proc/self/status")
_RESET_PEAK = "5"  # proc(5), clear_refs


def measure(path: Path, threads: int) -> dict[str, float]:
    """Load the model, run 1 and 32 rows, and return the bytes by which resident memory grew at its peak."""
    bundle = Bundle.open(path)
    inputs = bundle.samples().inputs
    import_onnxruntime()  # before the measurement: every process of a server has it once
    before = _start()
    runtime = open_runtime(bundle, threads=threads)
    # Each twice: a first run binds buffers for the next ones.
    for rows in (1, 32, 1, 32):
        runtime.run(repeat_rows(bundle.manifest.signature, inputs, rows))
    return {"peak_bytes": max(0, _peak() - before)}


def _start() -> int:
    """Reset the peak if the kernel allows it, and return the resident bytes."""
    try:
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return _peak()
    return _status("VmRSS")


def _peak() -> int:
    # proc(5): VmHWM is the peak of the resident size, VmRSS the size now.
    if _STATUS.exists():
        return _status("VmHWM")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, kilobytes elsewhere
    return peak if sys.platform == "darwin" else peak * 1024


def _status(name: str) -> int:
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
