from __future__ import annotations

import subprocess
import sys

import pytest

from lading.errors import ModelProcessEnded
from lading.runtime.python.process_tree import memory_bytes, processes_below
from support.model_code import BAD, answers, children, obeys
from support.waiting import wait_until

# Each of four workers stays below the limit that each process has.
WORKERS = """
            import numpy as np
            for _ in range(4):
                if os.fork() == 0:
                    kept = np.ones(12_500_000)
                    time.sleep(600)
            time.sleep(600)
"""


@pytest.mark.slow
def test_workers_that_a_model_forks_have_one_limit_together(opened, caplog):
    before = children()
    runtime = opened(obeys(WORKERS), settings={"memory_bytes": 300_000_000})
    ends = []
    runtime.report_ends(ends.append)
    (pid,) = runtime.pids
    with pytest.raises(
        ModelProcessEnded, match=r"and [1-4] that it has started: expected to fit into 300 MB tog"
    ):
        runtime.run({"x": BAD})
    wait_until(lambda: ends == ["memory"])
    assert processes_below(pid) == []
    wait_until(lambda: "expected to fit into 300 MB together, found" in caplog.text)
    wait_until(lambda: answers(runtime))
    assert len(children() - before) == 1


FORKS = """
import mmap, os, signal
from lading.runtime.python.process_tree import memory_bytes, processes_below

held = mmap.mmap(-1, 64 * 2**20, flags=mmap.MAP_PRIVATE)
held.write(b"x" * len(held))
alone = memory_bytes([os.getpid()])
assert alone >= len(held)
pid = os.fork()
if pid == 0:
    signal.pause()
try:
    assert processes_below(os.getpid()) == [pid]
    assert memory_bytes([os.getpid(), pid]) < alone + len(held) / 2
finally:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
assert memory_bytes([pid]) == 0
assert processes_below(os.getpid()) == []
"""


@pytest.mark.slow
def test_what_a_fork_shares_with_its_parent_counts_once():
    # In a process without threads: to fork one that has some is an error from Python 3.12 on.
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_processes_are_those_of_every_thread_and_of_their_children(tmp_path):
    for task, text in {"1/task/1": "2 ", "1/task/7": "3 4 ", "2/task/2": "", "3/task/3": "5 "}.items():
        (tmp_path / task).mkdir(parents=True)
        (tmp_path / task / "children").write_text(text)
    assert sorted(processes_below(1, tmp_path)) == [2, 3, 4, 5]
    (tmp_path / "2" / "smaps_rollup").write_text("Pss_Anon: 10 kB\nPss_File: 99 kB\nPss_Shmem: 5 kB\n")
    assert memory_bytes([1, 2, 3], tmp_path) == 15 * 1024
