"""Which worker accepts next, and when one is restarted: pure decisions."""

from __future__ import annotations

from lading.server.process.worker_process import (
    MAX_RESTART_DELAY_S,
    WorkerProcess,
    next_to_accept,
    restart_delay_s,
)


def worker(number: int, *, settled: bool = False, accepting: bool = False) -> WorkerProcess:
    return WorkerProcess(number, pid=1, waiting=True, settled=settled, accepting=accepting)


def test_the_first_worker_accepts_immediately_and_the_others_when_it_has_settled():
    loading, other = worker(1), worker(2, settled=True)
    assert next_to_accept([loading, other]) is other
    assert next_to_accept([worker(1), worker(2)]).number == 1
    loading.accepting = True
    assert next_to_accept([loading, other]) is None
    loading.settled = True
    assert next_to_accept([loading, other]) is other


def test_a_worker_that_still_loads_does_not_join_those_that_are_ready():
    ready, loading = worker(1, settled=True, accepting=True), worker(2)
    assert next_to_accept([ready, loading]) is None
    loading.settled = True
    assert next_to_accept([ready, loading]) is loading
    loading.accepting = True
    assert next_to_accept([ready, loading]) is None


def test_the_pause_before_a_restart_doubles_with_each_early_end_up_to_half_a_minute():
    assert [restart_delay_s(failures) for failures in range(6)] == [0, 0, 0.5, 1, 2, 4]
    assert restart_delay_s(1000) == MAX_RESTART_DELAY_S
