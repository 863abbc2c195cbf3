"""Batch runs on a Ray cluster that a test can watch, stop and end."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.batch_bundles import BatchCase
from support.cluster_batches import PART_ROWS, PARTS
from support.ray_clusters import RayCluster
from support.waiting import wait_until

# Small parts, so that there is something to share; each run says what it has done, or why it has not.
RUN = """
import json, sys
from pathlib import Path
from lading.batch import plan
from lading.batch.run import Options, report_values, run_batch
from lading.bundle import Bundle
from lading.errors import LadingError
from lading.runtime.python.host import this_host
plan.PART_ROWS = int(sys.argv[1])
for run in json.loads(sys.argv[2]):
    options = Options(engine="ray", keep=tuple(run["keep"]), processes=run["processes"])
    place = lambda text: text if text.startswith("s3://") else Path(text)
    source, out, python = [place(run["source"])], place(run["out"]), this_host(run["allow"])
    try:
        report = report_values(run_batch(Bundle.open(run["bundle"]), source, out, options, python=python))
    except LadingError as error:
        report = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(report), flush=True)
"""


class Started:
    """Runs on the cluster, one after the other, in a process of their own."""

    def __init__(
        self,
        cluster: RayCluster,
        runs: list[tuple[BatchCase, Path | str]],
        processes: int = 0,
        records: Callable[[], int] | None = None,
    ) -> None:
        """Start them; `records` returns how many parts of the last run are done, if it is no folder's."""
        described = [
            {
                "bundle": str(case.bundle.path),
                "source": str(case.source),
                "keep": case.keep,
                "allow": case.allow,
                "out": str(out),
                "processes": processes,
            }
            for case, out in runs
        ]
        self._cluster = cluster
        self._state = Path(runs[-1][1]) / ".lading"
        self._records = records
        self.process = cluster.start(sys.executable, "-c", RUN, str(PART_ROWS), json.dumps(described))

    def done(self) -> int:
        """Return how many parts of the last run are done."""
        if self._records is not None:
            return self._records()
        return len(list((self._state / "done").glob("*.json")))

    def comes_to(self, parts: int) -> None:
        """Wait until so many parts are done."""
        wait_until(lambda: self.done() >= parts or self.process.poll() is not None, 60)
        assert self.process.poll() is None, self.process.communicate()

    def reports(self) -> list[Any]:
        """Return what the runs have done, once all have ended."""
        out, err = self.process.communicate(timeout=200)
        assert self.process.returncode == 0, err
        return [json.loads(line) for line in out.splitlines()]

    def frozen_actor(self) -> int:
        """Stop an actor in the middle, wait until all else is done, and return its process."""
        self.comes_to(3)
        actor = self._cluster.workers("ray::Actor")[0]
        os.kill(actor, signal.SIGSTOP)
        self.comes_to(PARTS - 1)
        return actor
