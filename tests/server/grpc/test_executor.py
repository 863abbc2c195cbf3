"""The threads that answer gRPC calls: no more than their number, and none left at the end."""

from __future__ import annotations

import threading

from lading.server.grpc.executor import CallThreads


def test_every_call_is_answered_by_no_more_threads_than_the_limit():
    threads, lock = CallThreads(3), threading.Lock()
    running = most = 0
    done = threading.Semaphore(0)
    three_run = threading.Barrier(3, timeout=5)  # A call ends only beside two others.

    def work(fails: bool) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        three_run.wait()
        with lock:
            running -= 1
        if fails:
            raise ValueError("on purpose")

    for number in range(30):
        threads.submit(work, number % 7 == 0).add_done_callback(lambda _call: done.release())
    assert all(done.acquire(timeout=5) for _ in range(30))
    assert most == 3
    threads.stop()


def test_a_callback_that_is_added_after_the_call_is_called_as_well():
    threads, done = CallThreads(1), threading.Semaphore(0)
    call = threads.submit(int)
    call.add_done_callback(lambda _call: done.release())
    assert done.acquire(timeout=5)
    call.add_done_callback(lambda _call: done.release())
    assert done.acquire(timeout=1)
    threads.stop()


def test_threads_end_although_calls_still_wait():
    for _ in range(200):
        threads, begun = CallThreads(2), threading.Event()
        for _ in range(20):
            threads.submit(begun.wait)
        begun.set()
        threads.stop()
