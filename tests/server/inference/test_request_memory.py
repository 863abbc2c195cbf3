"""The memory that requests in flight share: what is counted, what is refused, and what is given back."""

from __future__ import annotations

import gc
import threading

import msgspec
import numpy as np
import pytest

from lading.errors import LadingError, RequestTooLarge, ServerBusy
from lading.server.inference import request_memory
from lading.server.inference.request_memory import (
    RequestMemory,
    Reservation,
    array_bytes,
    csv_bytes,
    json_bytes,
)
from support.memory import peak_bytes


def test_what_is_reserved_is_counted_until_nothing_refers_to_it():
    memory = RequestMemory(3000)
    first, second = memory.reserve(900), Reservation(memory)
    second.receive(800)
    second.grow(100)
    assert memory.used_bytes == 1800
    del second
    assert memory.used_bytes == 900
    first.resize(50)
    assert memory.used_bytes == 50
    del first
    assert memory.used_bytes == 0


def test_bodies_may_take_a_third_so_that_what_has_arrived_goes_on():
    memory = RequestMemory(3000)
    body = Reservation(memory)
    body.receive(1000)
    with pytest.raises(ServerBusy, match=r"expected 0\.0 MB free for this one"):
        Reservation(memory).receive(1)
    working = memory.reserve(2000)
    assert not memory.has_room(1)
    with pytest.raises(ServerBusy):
        body.grow(1)
    del working
    body.grow(1)
    assert memory.used_bytes == 1001


def test_what_could_never_be_had_is_refused_as_too_large():
    memory = RequestMemory(3_000_000)
    with pytest.raises(RequestTooLarge, match=r"expected at most 2\.0 MB, found 2\.1 MB needed"):
        memory.reserve(2_100_000)
    with pytest.raises(RequestTooLarge, match=r"expected at most 1\.0 MB"):
        Reservation(memory).receive(1_100_000)
    assert memory.used_bytes == 0


def test_without_a_limit_all_is_counted_and_nothing_refused():
    memory = RequestMemory()
    held = memory.reserve(10**12)
    assert memory.used_bytes == 10**12
    assert memory.has_room(10**15)
    del held


def test_threads_that_reserve_at_once_lose_no_count():
    memory = RequestMemory(10**9)

    def reserve() -> None:
        for _ in range(5000):
            Reservation(memory).grow(7)

    threads = [threading.Thread(target=reserve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memory.used_bytes == 0


@pytest.mark.slow
def test_a_reservation_that_is_collected_while_another_is_refused_gives_its_bytes_back(monkeypatch):
    memory = RequestMemory(3000)
    cycle = [memory.reserve(900)]
    cycle.append(cycle)
    refusal = request_memory._refusal

    def collecting(*sizes: int) -> ServerBusy | RequestTooLarge:
        gc.collect()  # As any allocation of its own may.
        return refusal(*sizes)

    monkeypatch.setattr(request_memory, "_refusal", collecting)
    refused: list[LadingError] = []

    def reserve() -> None:
        try:
            memory.reserve(10**12)
        except LadingError as error:
            refused.append(error)

    # It waited for itself: a thread that ends with the process shows that as a failure.
    thread = threading.Thread(target=reserve, daemon=True)
    del cycle
    thread.start()
    thread.join(10)
    assert [type(error) for error in refused] == [RequestTooLarge]
    assert memory.used_bytes == 0


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 3 * 2**20 + 1])
def test_characters_are_counted_over_all_pieces_of_a_body(size):
    body = np.random.default_rng(size).choice(np.frombuffer(b'[{",7\n', np.uint8), size).tobytes()
    lists, objects, quotes = (body.count(mark) for mark in (b"[", b"{", b'"'))
    values = body.count(b",") + lists + objects
    expected = 2 * size + 40 * values + 64 * lists + 160 * objects + 60 * (quotes // 2)
    assert json_bytes(body) == expected
    assert csv_bytes(body, has_texts=False) == 2 * size + 16 * (body.count(b",") + body.count(b"\n") + 1)


def test_strings_count_with_what_python_takes_for_them():
    numbers = np.zeros((10, 4), np.float32)
    texts = np.array(["", "abcd"], object)
    assert array_bytes({"x": numbers, "t": texts}) == 160 + 2 * 60 + 4


ROWS = {
    "rows": b"[1.5,2.5,3.5,4.5]",
    "records": b'{"a":1.5,"b":2}',
    "numbers": b"1.5",
    "lists of nothing": b"[]",
    "objects of nothing": b"{}",
    "texts": b'"ab"',
    "one by one": b"[1]",
    "deep": b"[[[[1]]]]",
}


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_estimate_of_reading_json_is_not_below_what_it_takes(row):
    body = b'{"data":[' + b",".join([row] * 20_000) + b"]}"
    took = peak_bytes(lambda: msgspec.json.decode(body))
    assert took <= json_bytes(body) <= 6 * took


def test_csv_takes_more_where_cells_stay_texts():
    assert csv_bytes(b"1,2\n3,4\n", has_texts=True) > csv_bytes(b"1,2\n3,4\n", has_texts=False) > 8
