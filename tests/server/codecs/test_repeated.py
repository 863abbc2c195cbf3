"""Repeated fields to arrays and back: nothing lost at the seams, and other threads run in between."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from lading.server.codecs import repeated
from lading.server.grpc import descriptors

COUNTS = [0, 1, 65_536, 65_537, 200_000]


def contents():
    return descriptors.message("oip", "inference.InferTensorContents")()


@pytest.mark.parametrize("count", COUNTS)
def test_numbers_come_back(count):
    values = np.random.default_rng(0).normal(size=count).astype(np.float32)
    message = contents()
    repeated.extend(message.fp32_contents, values)
    assert len(message.fp32_contents) == count
    np.testing.assert_array_equal(repeated.to_array(message.fp32_contents, np.float32), values)


@pytest.mark.parametrize("count", COUNTS)
def test_texts_are_written_as_utf8(count):
    texts = np.array([f"서울 {at}" for at in range(count)], object)
    message = contents()
    repeated.extend(message.bytes_contents, texts)
    assert [text.decode() for text in message.bytes_contents] == list(texts)


def test_large_integers_keep_every_digit():
    message = contents()
    message.int64_contents.extend([2**63 - 1, -(2**63)] * 40_000)
    array = repeated.to_array(message.int64_contents, np.int64)
    assert array.tolist() == [2**63 - 1, -(2**63)] * 40_000


@pytest.mark.slow
def test_other_threads_run_while_a_large_field_is_read():
    message = contents()
    message.fp32_contents.extend(np.zeros(4_000_000, np.float32).tolist())
    waits, done = [], threading.Event()

    def tick() -> None:
        while not done.is_set():
            began = time.perf_counter()
            time.sleep(0.001)
            waits.append(time.perf_counter() - began)

    ticking = threading.Thread(target=tick)
    ticking.start()
    repeated.to_array(message.fp32_contents, np.float32)
    done.set()
    ticking.join()
    # At once, the field is read in one piece of the interpreter's time, and one wait is nearly all of them.
    assert max(waits) < sum(waits) / 3
