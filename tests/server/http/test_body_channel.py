"""Messages between a server and the process that reads its large bodies."""

from __future__ import annotations

import socket
import threading

import numpy as np
import pytest

from lading.errors import MethodRefused, QueueFull, ValueRefused
from lading.server.http.body_channel import Answer, BodyChannel, Inputs, Read, Refused, arrays_of, describe
from lading.signature import DTYPES
from support.echo_models import values_of


@pytest.fixture
def ends():
    """Return both ends of a channel."""
    left, right = map(BodyChannel, socket.socketpair())
    yield left, right
    left.close()
    right.close()


def sent(ends, message, buffers=()):
    """Send through the channel, from another thread as a large message fills it; return what arrives."""
    sender = threading.Thread(target=ends[0].send, args=(message, buffers))
    sender.start()
    received = ends[1].receive()
    sender.join()
    return received


@pytest.mark.parametrize("shape", [(5, 3), (0, 3), (), (20_000, 2)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_arrive_as_they_were(ends, dtype, shape):
    arrays = {"x": values_of(dtype, shape), "y": values_of(dtype, (2,))}
    described, buffers = describe(arrays)
    message, received = sent(ends, Inputs(described, ("a", "b"), 5), buffers)
    assert (message.outputs, message.rows) == (("a", "b"), 5)
    arrived = arrays_of(message.arrays, received)
    assert list(arrived) == ["x", "y"]
    for name, array in arrays.items():
        assert arrived[name].dtype == array.dtype
        np.testing.assert_array_equal(arrived[name], array)


def test_the_bits_of_nan_and_negative_zero_arrive(ends):
    x = np.array([np.nan, -0.0, np.inf], np.float32)
    described, buffers = describe({"x": x})
    message, received = sent(ends, Inputs(described, None, 3), buffers)
    assert arrays_of(message.arrays, received)["x"].tobytes() == x.tobytes()


def test_a_body_larger_than_the_pipe_arrives(ends):
    body = bytes(range(256)) * 40_000
    message, received = sent(ends, Read(3, [1], "POST", "/p", {b"a": b"\xff"}, b"q=1", b"id"), [body])
    assert message == Read(3, [1], "POST", "/p", {b"a": b"\xff"}, b"q=1", b"id")
    assert received == [body]


@pytest.mark.parametrize(
    "error",
    [
        ValueRefused("input `x`", expected="`float32`", found="a string", hint="send numbers"),
        QueueFull("queue", retry_after_s=7),
        MethodRefused("`/predict`", allowed=("GET", "POST")),
    ],
)
def test_an_error_is_the_same_at_the_other_end(ends, error):
    message, _ = sent(ends, Refused.of(error))
    again = message.error()
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert {name: _plain(value) for name, value in vars(again).items()} == {
        name: _plain(value) for name, value in vars(error).items()
    }


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


def test_a_closed_end_is_the_end(ends):
    ends[0].close()
    with pytest.raises(EOFError):
        ends[1].receive()


def test_an_answer_without_a_body_arrives(ends):
    message, received = sent(ends, Answer(204, b"text/plain", ((b"a", b"b"),)), [b""])
    assert message == Answer(204, b"text/plain", ((b"a", b"b"),))
    assert received == [b""]
