"""What a model's code prints becomes lines of the log, within limits."""

from __future__ import annotations

import logging
import os
import threading

import pytest

from lading.runtime.python.output_log import LineLimit, OutputLog
from support.waiting import wait_until


class Clock:
    """A clock that is set."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.INFO, "lading.model")

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records]

    return lines


def printed(*writes: bytes, limit: LineLimit | None = None) -> None:
    """Write to a pipe, close it, and wait until the log has it."""
    read_end, write_end = os.pipe()
    output = OutputLog("iris", read_end, limit or LineLimit())
    for write in writes:
        os.write(write_end, write)
    os.close(write_end)
    output.end()
    output.end()


def test_lines_are_logged_with_the_name_of_the_model(logged):
    printed(b"one\ntw", b"o\n\n  three  \nlast")
    assert logged() == ["iris: one", "iris: two", "iris:   three", "iris: last"]


def test_what_is_not_printable_is_escaped(logged):
    printed(b"\x1b[2J\xff\x00 \xed\x95\x9c\ttab\r\n")
    assert logged() == ["iris: \\x1b[2J\\xff\\x00 한\ttab"]


def test_a_long_line_is_cut_and_one_without_end_is_not_kept_whole(logged):
    printed(b"a" * 5000 + b"\n", *[b"b" * 5000] * 10, b"\nc\n")
    assert logged() == [f"iris: {'a' * 2000}…", f"iris: {'b' * 2000}…", "iris: c"]


def test_lines_beyond_the_limit_are_counted(logged):
    printed(b"".join(b"%d\n" % number for number in range(1000)), limit=LineLimit(3, 0.0))
    assert logged() == ["iris: 0", "iris: 1", "iris: 2", "iris: 997 more lines of its output are left out"]


def test_a_line_is_logged_as_soon_as_it_is_printed(logged):
    read_end, write_end = os.pipe()
    output = OutputLog("iris", read_end, LineLimit())
    os.write(write_end, b"now\n")
    wait_until(lambda: logged() == ["iris: now"])
    os.close(write_end)
    output.end()


def test_the_end_does_not_wait_for_others_that_have_the_pipe(logged):
    threads, (read_end, write_end) = threading.active_count(), os.pipe()
    output = OutputLog("iris", read_end, LineLimit())
    os.write(write_end, b"before the end")
    output.end()
    assert logged() == ["iris: before the end"]
    assert threading.active_count() == threads
    with pytest.raises(BrokenPipeError):
        os.write(write_end, b"after")
    os.close(write_end)


def test_the_limit_fills_up_with_time_to_its_burst():
    clock = Clock()
    limit = LineLimit(10, 2.0, clock)
    assert limit.take(4) == 4
    assert limit.take(20) == 6
    assert limit.take(1) == 0
    clock.now = 1.5
    assert limit.take(9) == 3
    clock.now = 1000.0
    assert limit.take(50) == 10
