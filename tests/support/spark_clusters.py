"""A cluster of Spark on this machine: a master and workers, each a process of its own, on 127.0.0.1 alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.batch_bundles import BatchCase
from support.cluster_batches import PART_ROWS
from support.model_code import children
from support.ports import free_port
from support.waiting import wait_until

_SOURCES = Path(__file__).parents[2] / "src"

# Small parts, so that there is something to share; each run says what it has done, or why it has not.
RUN = """
import json, sys
from pathlib import Path
from lading.batch import plan
from lading.batch.on_spark.session import spark_session
from lading.batch.run import Options, report_values, run_batch
from lading.bundle import Bundle
from lading.errors import LadingError
from lading.runtime.python.host import this_host
plan.PART_ROWS = int(sys.argv[1])
with spark_session(sys.argv[2], 2, "tests"):
    for run in json.loads(sys.argv[3]):
        options = Options(engine="spark", keep=tuple(run["keep"]))
        place = lambda text: text if text.startswith("s3://") else Path(text)
        source, out, python = [place(run["source"])], place(run["out"]), this_host(run["allow"])
        try:
            report = report_values(run_batch(Bundle.open(run["bundle"]), source, out, options, python=python))
        except LadingError as error:
            report = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(report), flush=True)
"""


class SparkCluster:
    """A master; `add_worker` adds machines of one core. All of it ends with the block."""

    def __init__(self, cache: Path) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.master = f"spark://127.0.0.1:{free_port()}"
        # By SPARK_LOCAL_IP everything listens there, the pages of master and workers as well.
        self.environ = {
            **os.environ,
            "LADING_CACHE": str(cache),
            "PYSPARK_PYTHON": sys.executable,
            "PYTHONPATH": str(_SOURCES),
            "SPARK_LOCAL_IP": "127.0.0.1",
        }

    def __enter__(self) -> Self:
        port = self.master.rpartition(":")[2]
        self._start("deploy.master.Master", "I have been elected leader", "--port", port)
        return self

    def add_worker(self, **environ: str) -> int:
        """Start a worker with further variables in its environment, and return its process."""
        place = str(Path(self._folder.name) / f"worker-{len(self._processes)}")
        arguments = ("--cores", "1", "--memory", "1g", "--work-dir", place, self.master)
        return self._start("deploy.worker.Worker", "Successfully registered", *arguments, **environ)

    def _start(self, kind: str, ready: str, *arguments: str, **environ: str) -> int:
        import pyspark

        log = Path(self._folder.name) / f"{len(self._processes)}.log"
        spark_class = Path(pyspark.__file__).parent / "bin" / "spark-class"
        command = [str(spark_class), f"org.apache.spark.{kind}", "--host", "127.0.0.1", "--webui-port", "0"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, *arguments],
                env={**self.environ, **environ},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        wait_until(lambda: ready in log.read_text() or process.poll() is not None, 60, what=log.read_text)
        assert process.poll() is None, log.read_text()
        return process.pid

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._processes):
            # Its executors first, which would look for it for a while.
            for pid in children(process.pid) if process.poll() is None else ():
                os.kill(pid, signal.SIGKILL)
            process.kill()
            process.wait()
        self._folder.cleanup()


class SparkRuns:
    """Batch runs in one session on a cluster, one after the other, in a process of their own."""

    def __init__(
        self, cluster: SparkCluster, runs: list[tuple[BatchCase, Path | str]], **environ: str
    ) -> None:
        described = [
            {
                "bundle": str(case.bundle.path),
                "source": str(case.source),
                "keep": case.keep,
                "allow": case.allow,
                "out": str(out),
            }
            for case, out in runs
        ]
        self._done = Path(runs[-1][1]) / ".lading" / "done"
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(PART_ROWS), cluster.master, json.dumps(described)],
            env={**cluster.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def comes_to(self, parts: int) -> None:
        """Wait until so many parts of the last run are done."""
        wait_until(lambda: self.done() >= parts or self.process.poll() is not None, 120)
        assert self.process.poll() is None, self.process.communicate()

    def done(self) -> int:
        """Return how many parts of the last run are done."""
        return len(list(self._done.glob("*.json")))

    def reports(self) -> list[Any]:
        """Return what the runs have done, once all have ended."""
        out, err = self.process.communicate(timeout=240)
        assert self.process.returncode == 0, err
        return [json.loads(line) for line in out.splitlines()]

    def kill(self) -> None:
        """Kill the driver, as far as it has not ended. Its JVM ends with it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def executors(session: Any) -> list[int]:
    """Return the processes of the executors that the JVM of a session has started."""
    # By any of the ways: the launcher may be a script that runs the JVM, or have become it.
    jvm = session.sparkContext._gateway.proc.pid
    started = {child for parent in (jvm, *children(jvm)) for child in children(parent)}
    return sorted(pid for pid in started if b"CoarseGrainedExecutorBackend" in command_of(pid))


def command_of(pid: int) -> bytes:
    """Return the command line of a process, empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
