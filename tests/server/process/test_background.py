"""Tasks that run beside a server until it has stopped answering."""

from __future__ import annotations

import errno
import threading
from typing import cast

from lading.server.process import background
from lading.server.process.background import BackgroundTasks
from lading.server.process.status import Status

STATUS = cast(Status, object())  # Passed on, and not looked at.


def test_every_task_runs_with_the_status_until_the_server_stops():
    running, ended = threading.Barrier(3), []

    def task(status: Status, stop: threading.Event) -> None:
        running.wait(10)
        stop.wait(10)
        ended.append(status)

    tasks = BackgroundTasks([task, task], STATUS)
    tasks.start()
    running.wait(10)
    assert ended == []
    tasks.stop()
    assert ended == [STATUS, STATUS]


def test_a_task_that_does_not_end_is_abandoned(monkeypatch):
    monkeypatch.setattr(background, "STOP_TIMEOUT_S", 0.01)
    release = threading.Event()
    tasks = BackgroundTasks([lambda _status, _stop: release.wait(10) and None], STATUS)
    tasks.start()
    tasks.stop()
    release.set()


def test_a_task_that_fails_is_begun_again_and_logged_once(monkeypatch, caplog):
    monkeypatch.setattr(background, "RETRY_S", 0.01)
    begun, goes_on = [], threading.Event()

    def task(_status: Status, stop: threading.Event) -> None:
        begun.append(1)
        if len(begun) < 4:
            raise OSError(errno.EMFILE, "Too many open files")
        goes_on.set()
        stop.wait(10)

    tasks = BackgroundTasks([task], STATUS)
    tasks.start()
    assert goes_on.wait(10)
    tasks.stop()
    assert len(begun) == 4
    assert [record.message for record in caplog.records] == [
        "a background task failed; it is begun again every 0.01 s"
    ]
