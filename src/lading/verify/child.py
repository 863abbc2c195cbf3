"""A model run in a process of its own: ``python -m lading.verify.child JOB``. `isolation` starts it.

Writes one JSON record a line to stdout: which step begins, and its outcome. The parent reads them when the
process has ended, however it has ended. Imports little: every load of an unproved model waits for it.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from lading.bundle import MANIFEST_FILE, Bundle
from lading.bundle.manifest import read_manifest
from lading.errors import LadingError
from lading.evidence import Check
from lading.runtime.host.memory import memory_available
from lading.runtime.host.signals import end_with_parent
from lading.runtime.open import load_runtime
from lading.runtime.python.host import PythonHost
from lading.verify.golden_replay import repeat_rows, replay
from lading.verify.isolation import Job, Record
from lading.verify.model_checks import ModelChecks

_WARM_ROWS = (1, 8, 32, 512)
_LONGEST_RUN_S = 0.25
_GRACE_S = 5  # The parent ends this process at its limit; the alarm is for one whose parent is gone.
_MOST_SCORE = "1000"  # proc(5), oom_score_adj: the first to be ended when memory runs out


class Output:
    """Writes records where the parent reads them; what libraries print goes to stderr."""

    def __init__(self) -> None:
        self._fd = os.dup(sys.stdout.fileno())
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def write(self, record: Record) -> None:
        """Write one record at once: the next moment may be the last."""
        data = msgspec.json.encode(record) + b"\n"
        while data:
            data = data[os.write(self._fd, data) :]

    def begin(self, step: str) -> None:
        """Say which step begins."""
        self.write(Record(step=step))


def main(argument: str) -> int:
    """Do the job that `argument` describes, and return the exit code."""
    job = msgspec.json.decode(argument, type=Job)
    _confine(job.timeout_s, job.parent)
    output = Output()
    path = Path(job.path)
    try:
        manifest = read_manifest((path / MANIFEST_FILE).read_bytes(), job.digest)
        bundle = Bundle(path, manifest, job.digest, job.stamps)
        python = PythonHost(allow=job.allow, wheels=Path(job.wheels) if job.wheels else None)
        if job.kind == "verify":
            checks = ModelChecks(output.begin, lambda check: _tell(output, check, checks))
            checks.examine(bundle, job.threads, python)
        else:
            _rehearse(bundle, job.threads, output, python)
    except LadingError as error:
        output.write(Record(error=(type(error).__name__, vars(error))))
    return 0


def _tell(output: Output, check: Check, checks: ModelChecks) -> None:
    worst = checks.worst if check.name == "golden" else None
    output.write(Record(check=check, numbers=checks.numbers, worst=worst))


def _rehearse(bundle: Bundle, threads: int, output: Output, python: PythonHost) -> None:
    """Do what a server does with a model before and while it answers: load, replay, run more rows."""
    output.begin("session")
    runtime = load_runtime(bundle, threads=threads, python=python)
    output.begin("golden")
    samples = bundle.samples()
    replay(runtime, bundle)
    output.begin("warm")
    for rows in _WARM_ROWS:
        inputs = repeat_rows(bundle.manifest.signature, samples.inputs, rows)
        began = time.perf_counter()
        runtime.run(inputs)
        if time.perf_counter() - began > _LONGEST_RUN_S or not bundle.manifest.signature.batched:
            break
    runtime.close()


def _confine(timeout_s: float, parent: int) -> None:
    """Keep this process from outliving its parent and its time, and from taking memory of others."""
    # Ctrl-C, and the SIGTERM of a service manager, reach the parent as well, which ends this one: it must not
    # look as if the model had ended it.
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(kind, signal.SIG_IGN)
    # The default action of SIGALRM ends the process in whatever native code it is.
    signal.alarm(math.ceil(timeout_s) + _GRACE_S)
    _limit_resources()
    end_with_parent(parent)
    # Another kernel or a sandbox may not have this file; then the size is limited all the same.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_MOST_SCORE, encoding="ascii")


def _limit_resources() -> None:
    """Leave no core file, and let an absurd allocation fail instead of being tried."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    available = memory_available()
    if available is not None:
        # Twice, because what is asked for is more than what is used: arenas, and the stacks of threads.
        most = 2 * available + 2**30
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


if __name__ == "__main__":
    code = main(sys.argv[1])
    sys.stderr.flush()
    # Without the destructors of a library that has just run an unproved model.
    os._exit(code)
