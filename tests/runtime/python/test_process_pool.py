"""How processes that have ended are replaced, and what requests get meanwhile."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lading.errors import DeadlineExceeded, ModelCodeFailed, ModelProcessEnded, RunFailed
from lading.runtime.python.process_pool import Restarts
from support.model_code import BAD, X, answers, answers_in_time, children, obeys
from support.waiting import wait_until


@pytest.mark.slow
def test_a_process_that_ends_while_it_has_nothing_to_do_is_replaced_before_the_next_request(opened):
    before = children()
    runtime = opened()
    (pid,) = children() - before
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: runtime.ended_processes == 1 and children() - before)
    assert answers(runtime)


@pytest.mark.slow
def test_the_pause_doubles_with_each_crash(opened, caplog):
    runtime = opened(obeys("os._exit(3)"), restarts=Restarts(first_s=0.01))
    for _ in range(4):
        with pytest.raises(ModelProcessEnded, match="exit code 3"):
            runtime.run({"x": BAD})
    wait_until(lambda: "starts in 0.08 s" in caplog.text, what=lambda: caplog.text)
    pauses = [record.getMessage().rpartition("starts in ")[2] for record in caplog.records]
    assert pauses == ["0.01 s", "0.02 s", "0.04 s", "0.08 s"]


@pytest.mark.slow
def test_a_process_that_has_run_for_long_is_replaced_after_the_first_pause_again(opened, caplog):
    runtime = opened(obeys("os._exit(3)"), restarts=Restarts(first_s=0.01, steady_s=0.0))
    for _ in range(3):
        with pytest.raises(ModelProcessEnded):
            runtime.run({"x": BAD})
    wait_until(lambda: runtime.ended_processes == 3)
    assert answers(runtime)
    assert caplog.text.count("starts in 0.01 s") == 3


def test_a_request_fails_at_once_if_the_next_process_starts_late(opened, caplog):
    runtime = opened(obeys("os._exit(3)"), restarts=Restarts(first_s=1000.0, most_s=1000.0))
    with pytest.raises(ModelProcessEnded):
        runtime.run({"x": BAD})
    wait_until(lambda: "starts in 1000" in caplog.text)
    began = time.monotonic()
    with pytest.raises(ModelProcessEnded, match=r"found none for [0-9.]+ s; .* exit code 3"):
        runtime.run({"x": X})
    assert time.monotonic() - began < 5


@pytest.mark.slow
def test_what_was_ended_from_outside_is_replaced_without_a_pause(opened, caplog):
    runtime = opened(obeys("threading.Event().wait()"), restarts=Restarts(first_s=1000.0, most_s=1000.0))
    for _ in range(2):
        with ThreadPoolExecutor(1) as threads:
            hanging = threads.submit(runtime.run, {"x": BAD})
            wait_until(lambda: runtime.busy_processes == 1)
            runtime.terminate()
            with pytest.raises(RunFailed):
                hanging.result()
    assert answers(runtime)


@pytest.mark.slow
def test_code_that_cannot_be_loaded_again_fails_requests_with_the_reason(opened, tmp_path, caplog):
    runtime = opened(obeys("os._exit(3)"), restarts=Restarts(first_s=0.01, most_s=1000.0, patience_s=0.0))
    (tmp_path / "code" / "model.py").write_text("import gone")
    with pytest.raises(ModelProcessEnded):
        runtime.run({"x": BAD})
    wait_until(lambda: "found ModuleNotFoundError" in caplog.text)
    with pytest.raises(ModelProcessEnded, match="No module named 'gone'"):
        runtime.run({"x": X})
    (tmp_path / "code" / "model.py").write_text("def M(x): return x * 2")
    wait_until(lambda: answers_in_time(runtime))


@pytest.mark.slow
def test_an_environment_that_is_deleted_fails_requests_with_its_path(opened, tmp_path):
    interpreter = tmp_path / "python"
    source = Path(sys.executable)
    interpreter.symlink_to(source)
    runtime = opened(
        obeys("os._exit(3)"),
        settings={"interpreter": interpreter},
        restarts=Restarts(most_s=0.2, patience_s=0.0),
    )
    interpreter.unlink()
    with pytest.raises(ModelProcessEnded):
        runtime.run({"x": BAD})

    def refusal() -> str:
        with pytest.raises(ModelProcessEnded) as caught:
            runtime.run({"x": X})
        return str(caught.value)

    wait_until(lambda: f"`{interpreter}` to start" in refusal())


@pytest.mark.slow
def test_a_model_that_does_not_load_leaves_no_process_and_no_thread(opened):
    threads, before = threading.active_count(), children()
    with pytest.raises(ModelCodeFailed, match="No module named 'gone'"):
        opened("import gone", processes=2)
    wait_until(lambda: threading.active_count() == threads)
    assert children() == before


@pytest.mark.slow
def test_closing_ends_a_process_that_is_still_loading(opened, tmp_path):
    before = children()
    runtime = opened(obeys("os._exit(3)"))
    (tmp_path / "code" / "model.py").write_text("import threading\nprint(1)\nthreading.Event().wait()")
    with pytest.raises(ModelProcessEnded):
        runtime.run({"x": BAD})
    wait_until(lambda: runtime.ended_processes == 1 and children() - before)
    runtime.close()
    assert children() == before


@pytest.mark.slow
def test_a_model_that_does_not_load_in_time_is_an_error_that_says_so(opened):
    before = children()
    with pytest.raises(DeadlineExceeded, match=r"loading `churn`: expected an end within 0.5 s"):
        opened("import threading\nthreading.Event().wait()", load_deadline_s=0.5)
    assert children() == before
