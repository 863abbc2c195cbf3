"""The processes of models in Python on the page: real ones, which crash and hang."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from lading.errors import DeadlineExceeded, ModelProcessEnded
from lading.runtime.python.process_pool import Restarts
from lading.runtime.python.session import PythonRuntime
from lading.server.inference.version import ServedVersion
from lading.server.metrics import Metrics, is_gauge
from lading.server.metrics.shared_memory import SharedCounters, SharedMemory
from lading.server.process.compose import make_plane, metrics_page
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.hosted_app import served_from
from support.metrics_page import samples
from support.model_code import BAD, X, model_code, obeys
from support.waiting import wait_until

MISBEHAVES = """
    import os, threading
    import numpy as np

    def M(x):
        if x[0, 0] == -1:
            os._exit(3)
        if x[0, 0] == -2:
            threading.Event().wait()
        if x[0, 0] == -3:
            np.ones(100_000_000)
        return x * 2
"""


@pytest.fixture
def opened(tmp_path):
    """Return a function that serves code as version 1 of `churn`, in processes of its own."""
    runtimes = []

    def serve(source: str, **options) -> tuple[ServedVersion, PythonRuntime]:
        runtime = PythonRuntime(model_code(tmp_path, source, memory_bytes=400_000_000), **options)
        runtimes.append(runtime)
        other = served_from(linear_bundle(tmp_path / "linear"))
        served = ServedVersion("churn", 1, other.digest)
        served.adopt(replace(other.model, runtime=runtime))
        return served, runtime

    yield serve
    for runtime in runtimes:
        runtime.close()


def shown(metrics: Metrics) -> dict[str, float]:
    """Return what the page shows of processes, without the model and version that all have."""
    metrics.publish()
    values = samples(metrics_page(metrics, "lading").decode())
    return {
        name.replace("model=churn,", "").replace(",version=1", "").replace("model=churn", ""): value
        for name, value in values.items()
        if name.startswith("lading_model_process")
    }


@pytest.mark.slow
def test_each_end_is_counted_once_with_its_reason_and_outlives_its_version(opened):
    served, runtime = opened(MISBEHAVES, run_deadline_s=2.0, restarts=Restarts(first_s=0.01))
    plane = make_plane(ServeSettings())
    metrics = Metrics(plane)
    with pytest.raises(ModelProcessEnded):
        runtime.run({"x": BAD})
    wait_until(lambda: runtime.ended_processes == 1)  # Before the page knows of it.
    plane.publish([served])
    for value, error in ((-2, DeadlineExceeded), (-3, ModelProcessEnded), (-1, ModelProcessEnded)):
        wait_until(lambda: runtime.pids)
        with pytest.raises(error):
            runtime.run({"x": BAD * -value}, None)
    wait_until(lambda: runtime.ended_processes == 4 and runtime.pids)
    ends = {reason: f"lading_model_process_ends_total{{reason={reason}}}" for reason in REASONS}
    values = shown(metrics)
    assert [values[ends[reason]] for reason in REASONS] == [2, 1, 1, 0]
    assert values["lading_model_processes{version=1}"] == 1
    plane.publish([])
    runtime.close()
    wait_until(lambda: shown(metrics)[ends["stopped"]] == 1)
    assert shown(metrics)["lading_model_processes{version=1}"] == 0


REASONS = ("crashed", "deadline", "memory", "stopped")


@pytest.mark.slow
def test_busy_processes_are_those_that_run_a_request_over_all_workers(opened):
    served, runtime = opened(obeys("threading.Event().wait()"), processes=2)
    memory = SharedMemory(2)
    workers = []
    for number in (1, 2):
        memory.began(number, 1)
        counters = SharedCounters(memory, number)
        counters.clear(is_gauge)
        plane = make_plane(ServeSettings())
        plane.publish([served])
        workers.append(Metrics(plane, counters))
    with ThreadPoolExecutor(1) as threads:
        hanging = threads.submit(runtime.run, {"x": BAD})
        wait_until(lambda: runtime.busy_processes == 1)
        for worker in workers:
            worker.publish()
        values = shown(workers[0])
        assert values["lading_model_processes{version=1}"] == 4
        assert values["lading_model_processes_busy{version=1}"] == 2
        runtime.terminate()
        assert isinstance(hanging.exception(), Exception)
    assert (runtime.run({"x": X})["y"] == X * 2).all()
    assert shown(workers[0])["lading_model_processes_busy{version=1}"] == 1  # That of the other, from before.
