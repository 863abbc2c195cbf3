"""Batch runs that are killed at a chosen moment: when they open, rename, remove or sync for the k-th time.

The moments are counted by an audit hook, so that a kill falls between two steps of the run wherever it is
slow or quick. Runs of one process are forked from one that has imported everything.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOMENTS = 19

SCRIPT = """
import os, signal, sys
from pathlib import Path

KILLS = os.environ.get("KILLS", "")  # whom, at which moment, and the file that says that it was done
steps, out, at, whom, mark = 0, "", 0, "", ""

def step(event, *facts):
    global steps
    if event not in ("open", "os.rename", "os.mkdir", "os.remove", "fsync"):
        return
    if event != "fsync" and out not in str(facts[0][0]):
        return
    steps += 1
    if steps == at:
        if mark:
            try:
                os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
        (os.killpg if whom == "group" else os.kill)(os.getpgid(0) if whom == "group" else os.getpid(), 9)

def watch(folder, moment, who, file=""):
    global out, at, whom, mark
    out, at, whom, mark = folder, moment, who, file
    sync = os.fsync
    os.fsync = lambda handle: (step("fsync"), sync(handle))[1]
    sys.addaudithook(lambda event, facts: step(event, facts))

from lading.batch import plan
plan.PART_ROWS = 500
from lading.batch.run import Options, run_batch
from lading.bundle import Bundle

if __name__ == "__mp_main__" and KILLS.startswith("worker"):
    who, moment, folder, file = KILLS.split("|")
    watch(folder, int(moment), who, file)

def run(bundle, source, folder, processes):
    options = Options(keep=("customer",), processes=int(processes))
    run_batch(Bundle.open(bundle), [Path(source)], Path(folder), options)

if __name__ == "__main__":
    bundle, source, processes = sys.argv[1:]
    if processes != "0":
        who, moment, folder, file = KILLS.split("|")
        if who != "worker":
            watch(folder, int(moment), who)
        run(bundle, source, folder, processes)
        sys.exit()
    for line in sys.stdin:
        folder, moment = line.rstrip().rsplit(" ", 1)
        child = os.fork()
        if not child:
            code = 1
            try:
                watch(folder, int(moment), "process")
                run(bundle, source, folder, 1)
                code = 0
                with open(f"{folder}.steps", "w") as file:
                    file.write(str(steps))
            finally:
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forks:
    """Starts runs of one process one after the other, each killed at its moment, or at none for 0."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, out: Path, moment: int) -> int:
        """Run into `out` and return its exit code: -9 if it was killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{out} {moment}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def steps(self, out: Path) -> int:
        """Return how many moments a run had that was not killed."""
        return int(Path(f"{out}.steps").read_text())


@contextmanager
def forks(script: Path, bundle: Path, source: Path) -> Iterator[Forks]:
    """Open a process that forks runs of `bundle` over `source` within."""
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(bundle), str(source), "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Forks(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)


def run_killed(script: Path, bundle: Path, source: Path, out: Path, *, whom: str, moment: int) -> int:
    """Run with two processes in a group of its own, and kill `whom` at a moment; return its exit code."""
    script.write_text(SCRIPT)
    kills = f"{whom}|{moment}|{out}|{out}.killed"
    command = [sys.executable, str(script), str(bundle), str(source), "2"]
    environment = {**os.environ, "KILLS": kills}
    with subprocess.Popen(command, start_new_session=True, env=environment) as process:
        return process.wait(120)
