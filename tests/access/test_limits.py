"""Rate limits and quotas: exact in one process, and shared by several."""

from __future__ import annotations

import mmap
import os

import pytest

from lading.access import Caller, Limit
from lading.access.limits import LIMITS_BYTES, Limits, slots_of
from lading.errors import RateExceeded


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def limited(*limits: Limit, name: str = "a") -> Caller:
    return Caller(name, "key", (), limits=limits, slots=slots_of(name, count=len(limits)))


def taken(limits: Limits, caller: Caller, most: int) -> int:
    for count in range(most):
        try:
            limits.take(caller)
        except RateExceeded:
            return count
    return most


def test_a_bucket_lets_its_burst_pass_and_then_its_rate():
    clock, caller = Clock(), limited(Limit(10, 5, "rate 10/s"))
    limits = Limits(clock=clock)
    assert taken(limits, caller, 100) == 5
    clock.now += 0.1
    assert taken(limits, caller, 100) == 1
    clock.now += 60
    assert taken(limits, caller, 100) == 5


def test_a_refusal_says_when_to_come_again():
    clock, caller = Clock(), limited(Limit(1 / 3600, 2, "quota 1/h"))
    limits = Limits(clock=clock)
    assert taken(limits, caller, 9) == 2
    with pytest.raises(RateExceeded) as refused:
        limits.take(caller)
    assert refused.value.retry_after_s == 3600
    assert refused.value.message == "`a`: expected at most its quota 1/h, found more requests"


def test_what_one_limit_refuses_takes_nothing_from_the_other():
    clock = Clock()
    caller = limited(Limit(1, 1, "rate 1/s"), Limit(100 / 86400, 100, "quota 100/d"))
    limits = Limits(clock=clock)
    passed = 0
    for _ in range(50):
        passed += taken(limits, caller, 5)
        clock.now += 1
    assert passed == 50


def test_callers_have_buckets_of_their_own():
    limits, rate = Limits(clock=Clock()), Limit(1, 1, "rate 1/s")
    assert taken(limits, limited(rate, name="a"), 9) == 1
    assert taken(limits, limited(rate, name="b"), 9) == 1


def test_processes_that_share_the_memory_share_the_buckets():
    memory = mmap.mmap(-1, LIMITS_BYTES)
    clock, caller = Clock(), limited(Limit(0.001, 10, "rate"))
    pid = os.fork()
    if pid == 0:
        os._exit(taken(Limits(memory, clock), caller, 4))
    _, code = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(code) == 4
    assert taken(Limits(memory, clock), caller, 100) == 6
