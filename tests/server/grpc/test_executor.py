"""The threads that answer gRPC calls: no more than their number, and none left at the end."""

from __future__ import annotations

import threading
from typing import Any

from lading.server.grpc.executor import CallThreads
from support.waiting import wait_until


class Call:
    """A call as the threads see it."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.context = self

    def cancel(self) -> None:
        self.cancelled.set()


def submit(threads: CallThreads, work: Any) -> Call | None:
    call = Call()
    return call if threads.submit(call, work, b"") else None  # type: ignore[arg-type]


def test_every_call_is_answered_by_no_more_threads_than_the_limit():
    threads, lock = CallThreads(3, 30), threading.Lock()
    running = most = 0
    done = threading.Semaphore(0)
    three_run = threading.Barrier(3, timeout=5)  # A call ends only beside two others.

    def work(_call: Any, _data: bytes) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        three_run.wait()
        with lock:
            running -= 1
        done.release()

    for _ in range(30):
        assert submit(threads, work)
    assert all(done.acquire(timeout=5) for _ in range(30))
    assert most == 3
    threads.stop()


def test_a_call_that_fails_is_cancelled_and_its_thread_answers_the_next(caplog):
    threads, done = CallThreads(1, 1), threading.Event()

    def fail(_call: Any, _data: bytes) -> None:
        raise ValueError("on purpose")

    failed = submit(threads, fail)
    assert failed is not None
    assert failed.cancelled.wait(5)
    assert submit(threads, lambda _call, _data: done.set())
    assert done.wait(5)
    assert "on purpose" in caplog.text
    threads.stop()


def test_only_so_many_wait_and_one_that_has_ended_leaves_its_place():
    threads, gate, begun = CallThreads(1, 2), threading.Event(), threading.Event()
    answered: list[Any] = []

    def work(call: Any, _data: bytes) -> None:
        begun.set()
        gate.wait(5)
        answered.append(call)

    first = submit(threads, work)
    assert begun.wait(5)
    second, third = submit(threads, work), submit(threads, work)
    assert second is not None
    assert submit(threads, work) is None
    threads.discard(second)  # type: ignore[arg-type]
    fourth = submit(threads, work)
    assert fourth is not None
    gate.set()
    wait_until(lambda: answered == [first, third, fourth])
    threads.stop()


def test_threads_end_although_calls_still_wait():
    before = threading.active_count()
    for _ in range(200):
        threads, begun = CallThreads(2, 20), threading.Event()
        for _ in range(20):
            submit(threads, lambda _call, _data, begun=begun: begun.wait())
        begun.set()
        threads.stop()
    wait_until(lambda: threading.active_count() <= before)
