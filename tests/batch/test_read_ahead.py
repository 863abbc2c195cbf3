"""What is read ahead: in order, one step before it is asked for, and with its errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lading.batch.read_ahead import read_ahead


def test_values_come_in_order_and_none_is_lost():
    assert list(read_ahead(iter([1, None, 0, 2]))) == [1, None, 0, 2]
    assert list(read_ahead(iter([]))) == []


def test_the_next_value_is_made_while_the_last_one_is_used():
    made = [threading.Event() for _ in range(3)]

    def source() -> Iterator[int]:
        for at, event in enumerate(made):
            event.set()
            yield at

    for at in read_ahead(source()):
        assert all(event.wait(10) for event in made[: at + 2])


def test_an_error_comes_after_the_values_before_it():
    def source() -> Iterator[int]:
        yield 1
        raise OSError("broken")

    values = read_ahead(source())
    assert next(values) == 1
    with pytest.raises(OSError, match="broken"):
        next(values)


def test_a_source_that_is_given_up_is_not_read_further():
    seen: list[int] = []

    def source() -> Iterator[int]:
        for at in range(100):
            seen.append(at)
            yield at

    values = read_ahead(source())
    assert next(values) == 0
    values.close()
    assert len(seen) <= 3
