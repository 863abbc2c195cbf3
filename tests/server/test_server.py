"""The front door of the server: one process, or a supervisor with several."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import lading.server
from lading.server import serve
from lading.server.process import serve as serve_module
from lading.settings import ServeSettings


def background_task(_status: object, _stop: threading.Event) -> None:
    """Do nothing."""


@pytest.fixture
def calls(monkeypatch) -> list[tuple[Any, ...]]:
    """The arguments with which a process would have begun to serve."""
    # A process that serves, and its supervisor, have tests of their own.
    calls: list[tuple[Any, ...]] = []

    def record(*arguments: Any) -> int:
        calls.append(arguments)
        return 7

    monkeypatch.setattr(serve_module, "serve", record)
    return calls


def test_one_worker_serves_in_this_process(calls):
    settings = ServeSettings(workers=1)
    assert serve(settings, [], "registry", [background_task]) == 7
    assert calls == [(settings, [], "registry", None, [background_task], ())]


def test_several_workers_serve_each_with_its_context_and_all_background_tasks(calls, monkeypatch):
    def supervise(_settings: ServeSettings, work: Any, _log_writer: Any, _programs: Any) -> int:
        return sum(work(worker) for worker in ("first", "second"))

    monkeypatch.setattr(lading.server, "supervise", supervise)
    settings = ServeSettings(workers=2)
    assert serve(settings, [], "registry", [background_task]) == 14
    assert [worker for _, _, _, worker, _ in calls] == ["first", "second"]
    assert {tuple(tasks) for *_, tasks in calls} == {(background_task,)}
