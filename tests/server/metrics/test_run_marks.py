"""What a process runs stands in memory that outlives it, and is right whatever its threads do."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from lading.errors import RunFailed
from lading.runtime.open import load_runtime
from lading.server.inference.loaded import LoadedModel
from lading.server.inference.version import CANDIDATE_MARK, ServedVersion
from lading.server.metrics import is_gauge
from lading.server.metrics.run_marks import RUNNING, Suspect, run_marks, suspects
from lading.server.metrics.shared_memory import SharedCounters, SharedMemory
from support.bundles import linear_bundle
from support.crashing_models import ROWS, ZEROS, poisoned_bundle


def served_with_marks(folder: Path, memory: SharedMemory, *, poisoned: bool = False) -> ServedVersion:
    bundle = (poisoned_bundle if poisoned else linear_bundle)(folder)
    marks = run_marks(SharedCounters(memory, 1), "iris", 3, bundle.digest)
    served = ServedVersion("iris", 3, bundle.digest, marks=marks)
    served.adopt(LoadedModel.of(bundle, load_runtime(bundle, threads=1), served.label))
    return served


def test_the_version_in_whose_run_a_process_crashed_stays_readable(tmp_path):
    memory = SharedMemory(1)
    child = os.fork()
    if not child:
        served = served_with_marks(tmp_path / "b", memory, poisoned=True)
        served.marks[CANDIDATE_MARK] = 1.0
        served.run({"X": ROWS})
        served.run({"X": ZEROS})
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGABRT
    (suspect,) = suspects(memory.slots[0])
    assert (suspect.name, suspect.version, suspect.is_candidate) == ("iris", 3, True)
    # The next process in the same place has run nothing yet.
    SharedCounters(memory, 1).clear(is_gauge)
    assert suspects(memory.slots[0]) == []


def test_marks_return_to_zero_after_runs_in_many_threads(tmp_path):
    memory = SharedMemory(1)
    served = served_with_marks(tmp_path / "b", memory)
    inputs = served.samples.inputs
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns as often as they can
    try:
        threads = [
            threading.Thread(target=lambda: [served.run(inputs) for _ in range(2000)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        assert suspects(memory.slots[0]) in ([], [Suspect("iris", 3, served.digest)])
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert list(served.marks) == [0.0, 0.0]


@pytest.mark.parametrize("fails", [True, False])
def test_a_run_that_fails_is_over(tmp_path, fails):
    memory = SharedMemory(1)
    served = served_with_marks(tmp_path / "b", memory)
    if fails:
        with pytest.raises(RunFailed):
            served.run({"X": ROWS.astype("float64")})
    else:
        served.run(served.samples.inputs)
    assert suspects(memory.slots[0]) == []
    assert RUNNING in {name[0] for name in memory.slots[0].counters()}
