"""How much memory one model takes, in a process: ``python -m lading.verify.memory_probe DIR …``.

Prints one JSON object, and ends with the process PARENT. Imported by nothing in lading: the process that
verifies has freed memory in its heap, and a second load there would use it and seem to take none.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path

import msgspec

from lading.bundle import Bundle
from lading.errors import BatchMismatch
from lading.onnx_runtime import import_onnxruntime
from lading.runtime.host.allocator import keep_freed_memory
from lading.runtime.host.signals import end_with_parent
from lading.runtime.open import load_runtime
from lading.runtime.python.host import Allow, PythonHost
from lading.verify.golden_replay import repeat_rows, replay

_STATUS = Path("/proc/self/status")
_MANY_ROWS = 512
_LONGEST_RUN_S = 2.0
_RESET_PEAK = "5"  # proc(5), clear_refs


def measure(path: Path, threads: int, python: PythonHost) -> dict[str, float]:
    """Do what a server does with a model, and return the bytes by which resident memory grew at its peak.

    That is: load it, replay the golden samples, keep them, and answer requests of few and of many rows. Of a
    model in Python, the bytes of its process are returned as well.
    """
    bundle = Bundle.open(path)
    import_onnxruntime()  # before the measurement: every process of a server has it once
    keep_freed_memory()  # as in a server
    before = _start()
    runtime = load_runtime(bundle, threads=threads, python=python)
    samples = bundle.samples()
    # What mixes rows is refused by the check `batch`, and measured all the same.
    with contextlib.suppress(BatchMismatch):
        replay(runtime, bundle)
    # Small ones twice: a first run binds buffers for the next ones.
    for rows in (1, 8, 32, 1, 8, 32, _MANY_ROWS):
        inputs = repeat_rows(bundle.manifest.signature, samples.inputs, rows)
        began = time.perf_counter()
        runtime.run(inputs)
        if time.perf_counter() - began > _LONGEST_RUN_S:
            break  # Chunks of rows like these have shown their peak; more rows would only take longer.
    own = max(0, _peak() - before)
    # A model in Python takes its memory in processes of its own, interpreter and libraries included.
    processes = [_process_peak(pid) for pid in getattr(runtime, "pids", ())]
    largest = {"process_bytes": max(processes)} if processes else {}
    return {"peak_bytes": own + sum(processes), **largest}


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


def _process_peak(pid: int) -> int:
    return _status("VmHWM", Path(f"/proc/{pid}/status"))


def _status(name: str, file: Path = _STATUS) -> int:
    lines = file.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    end_with_parent(int(sys.argv[3]))
    allow, wheels = msgspec.convert(sys.argv[4], Allow), sys.argv[5]
    host = PythonHost(allow=allow, wheels=Path(wheels) if wheels else None)
    sys.stdout.write(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]), host)))
