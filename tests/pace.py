"""How quick this machine is, for limits in seconds that hold on a usual one."""

from __future__ import annotations

import subprocess
import sys
import time


def imports_s() -> float:
    """Give the seconds that a process takes to import what every server does, the quickest of three."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", "import numpy, onnxruntime, uvicorn"], check=True)
        took.append(time.monotonic() - began)
    return min(took)
