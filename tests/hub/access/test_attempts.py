"""Wrong keys cost the address that they come from more and more time."""

from __future__ import annotations

import pytest

from lading.hub.access.attempts import Attempts


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_slips_are_free_and_then_each_wrong_key_costs_twice_as_much():
    clock = Clock()
    attempts, waits = Attempts(clock), []
    for _ in range(12):
        attempts.failed("10.0.0.1")
        waits.append(attempts.wait_s("10.0.0.1"))
        clock.now += waits[-1]
    assert waits == [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert attempts.wait_s("10.0.0.2") == 0


def test_wrong_keys_are_forgotten_after_a_while_or_by_the_right_one():
    clock = Clock()
    attempts = Attempts(clock)
    for address in ("10.0.0.1", "10.0.0.2"):
        for _ in range(9):
            attempts.failed(address)
    attempts.succeeded("10.0.0.2")
    assert (attempts.wait_s("10.0.0.1"), attempts.wait_s("10.0.0.2")) == (32, 0)
    clock.now += 901
    assert attempts.wait_s("10.0.0.1") == 0
    assert attempts.failed("10.0.0.1") == 1


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("testclient", "testclient", True),
        ("", "10.0.0.1", False),
    ],
)
def test_a_host_with_many_addresses_counts_once(first, second, is_one):
    attempts = Attempts(Clock())
    for _ in range(5):
        attempts.failed(first)
    assert bool(attempts.wait_s(second)) == is_one


def test_strangers_from_everywhere_do_not_fill_the_memory():
    attempts = Attempts(Clock())
    for number in range(10_000):
        attempts.failed(f"10.0.{number // 256}.{number % 256}")
    assert len(attempts._wrong) == 4096
