"""What is done about requests afterwards, in a thread."""

from __future__ import annotations

import threading

from lading.server.observe.backlog import Backlog
from support.waiting import wait_until


def test_items_are_handled_in_order_and_the_last_before_the_end():
    handled: list[int] = []
    backlog: Backlog[int] = Backlog("test", handled.extend)
    for item in range(1000):
        backlog.add(item)
    backlog.close()
    assert handled == list(range(1000))


def test_what_finds_no_room_is_dropped_and_counted():
    entered, gate = threading.Event(), threading.Event()

    def handle(_items: list[int]) -> None:
        entered.set()
        gate.wait(10)

    backlog: Backlog[int] = Backlog("test", handle, most=10)
    backlog.add(0)
    assert entered.wait(10)
    for item in range(25):
        backlog.add(item)
    assert backlog.take_dropped() == 15
    assert backlog.take_dropped() == 0
    gate.set()
    backlog.close()


def test_a_turn_that_fails_is_followed_by_the_next(caplog):
    handled: list[int] = []

    def handle(items: list[int]) -> None:
        if 1 in items:
            raise OSError("no")
        handled.extend(items)

    backlog: Backlog[int] = Backlog("test", handle)
    backlog.add(1)
    wait_until(lambda: "test failed" in caplog.text, 10)
    backlog.add(2)
    backlog.close()
    assert handled == [2]


def test_nothing_starts_before_the_first_item():
    before = threading.active_count()
    backlog: Backlog[int] = Backlog("test", lambda _items: None)
    assert threading.active_count() == before
    backlog.close()
