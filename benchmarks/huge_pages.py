"""Measure what huge pages do for a model that reads 27 MB of weights for each row, in fresh processes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

PROCESSES, RUNS = 10, 500


def main() -> None:
    """Print the median ratio of a run after to a run before, and what moving took."""
    import models

    with tempfile.TemporaryDirectory() as folder:
        bundle = models.costly(Path(folder))
        runs = [one_process(bundle) for _ in range(PROCESSES)]
    ratios, seconds = [after / before for before, after, _ in runs], [took for *_, took in runs]
    print(f"a run after, times one before: {median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})")
    print(f"moving took {median(seconds):.2f} s ({min(seconds):.2f}–{max(seconds):.2f})")


def one_process(bundle: Path) -> tuple[float, float, float]:
    """Return the milliseconds of a run before and after, and the seconds that moving took."""
    command = [sys.executable, __file__, str(bundle)]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    before, after, took = (float(word) for word in words)
    return before, after, took


def measure(bundle: Path) -> None:
    """Print, in a process that has just begun, what `one_process` gives."""
    from lading.bundle import Bundle
    from lading.runtime.host.allocator import keep_freed_memory
    from lading.runtime.host.huge_pages import use_huge_pages
    from lading.runtime.open import load_runtime

    keep_freed_memory()
    opened = Bundle.open(bundle)
    runtime = load_runtime(opened, threads=1)
    inputs = {name: array[:1] for name, array in opened.samples().inputs.items()}

    def run_ms() -> float:
        times = []
        for _ in range(RUNS):
            began = time.perf_counter()
            runtime.run(inputs, None)
            times.append(time.perf_counter() - began)
        return median(times) * 1000

    before = run_ms()
    began = time.perf_counter()
    use_huge_pages()
    took = time.perf_counter() - began
    print(before, run_ms(), took)


if __name__ == "__main__":
    measure(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
