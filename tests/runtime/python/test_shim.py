"""Messages between two processes, and the checks of what a model's code answers."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest

import lading
from lading.runtime.python import shim
from lading.runtime.python.shim import Channel, Declared, Refusal, WireError, checked_outputs
from lading.signature import DTYPES

LARGE = 4 * shim.INLINE_BYTES


@contextlib.contextmanager
def connected(most_bytes: int = 1 << 40):
    one_end, other_end = socket.socketpair()
    with one_end, other_end:
        yield Channel(one_end), Channel(other_end, most_bytes=most_bytes), one_end


def passed(sender: Channel, receiver: Channel, arrays):
    """Send arrays, in a thread, as a message may be more than the socket holds; return what is received."""
    thread = threading.Thread(target=sender.send, args=({"op": "run"}, arrays))
    thread.start()
    header, received = receiver.receive()
    thread.join()
    assert header["op"] == "run"
    return received


def array_of(dtype: str, *shape: int):
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape) % 100
    if dtype != "string":
        return values.astype(dtype)
    return np.array([f"é한글{value}" for value in values.ravel()], object).reshape(shape)


@pytest.mark.parametrize("shape", [(1, 4), (0, 3), (), (7,), (2, 3, 5), (LARGE // 8, 2)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_every_dtype_and_shape_arrive_as_they_were_sent(dtype, shape):
    first, second = array_of(dtype, *shape), array_of("uint8", 3)
    with connected() as (sender, receiver, _):
        received = passed(sender, receiver, {"a b": first, "ü": second})
    assert [*received] == ["a b", "ü"]
    assert received["a b"].dtype == first.dtype
    assert received["a b"].shape == first.shape
    np.testing.assert_array_equal(received["a b"], first)
    np.testing.assert_array_equal(received["ü"], second)


@pytest.mark.parametrize("rows", [5, LARGE], ids=["inline", "in memory"])
def test_received_arrays_are_aligned_may_be_written_to_and_stay_when_others_follow(rows):
    with connected() as (sender, receiver, _):
        first = passed(sender, receiver, {"odd": np.ones(3, "u1"), "x": np.full(rows, 1.5)})["x"]
        assert first.flags.aligned
        assert first.flags.writeable
        second = passed(sender, receiver, {"odd": np.ones(3, "u1"), "x": np.full(rows, 2.5)})["x"]
        first[0] = 7
    assert (first[1:] == 1.5).all()
    assert (second == 2.5).all()


def test_an_array_that_is_not_contiguous_arrives():
    array = np.arange(LARGE, dtype="f8").reshape(-1, 8)[::2, 1:5:2]
    with connected() as (sender, receiver, _):
        np.testing.assert_array_equal(passed(sender, receiver, {"x": array})["x"], array)
        np.testing.assert_array_equal(passed(sender, receiver, {"x": array[:3].T})["x"], array[:3].T)


def maps_of_memory() -> int:
    with open("/proc/self/maps") as maps:  # noqa: PTH123
        return sum("memfd:lading" in line for line in maps)


def test_memory_is_used_again_and_given_up_after_messages_that_need_none():
    before = maps_of_memory()
    large, small = {"x": np.ones(LARGE)}, {"x": np.ones(4)}
    with connected() as (sender, receiver, _):
        for _ in range(3):
            passed(sender, receiver, large)
            assert maps_of_memory() == before + 2  # one at each end
        for _ in range(64):
            passed(sender, receiver, small)
        assert maps_of_memory() == before
        np.testing.assert_array_equal(passed(sender, receiver, large)["x"], large["x"])


def test_a_payload_that_is_too_large_is_refused_before_it_is_read():
    with connected(most_bytes=LARGE) as (sender, receiver, _), pytest.raises(WireError, match="MB"):
        passed(sender, receiver, {"x": np.ones(LARGE)})


def test_a_connection_that_is_closed_within_a_message_is_an_end():
    with connected() as (_, receiver, raw):
        raw.send(struct.pack("<4sIQ", b"ldg1", 48, 0) + b"{}")
        raw.close()
        with pytest.raises(EOFError):
            receiver.receive()


def message(header: object, payload: bytes = b"", magic: bytes = b"ldg1", size: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<4sIQ", magic, len(text), len(payload) if size is None else size) + text + payload


def described(*arrays: object) -> dict[str, object]:
    return {"arrays": list(arrays)}


GARBAGE = {
    "another magic": b"x" * 64,
    "a header of 4 GB": struct.pack("<4sIQ", b"ldg1", 0xFFFFFFFF, 0),
    "a header that is no JSON": message(b"{" * 40),
    "a header that is deep": message(b"[" * 60_000),
    "a header that is a list": message([]),
    "bytes after the end": message({}) + b"?",
    "arrays that are no list": message({"arrays": 5}),
    "an array without a shape": message(described(["x", "float32"])),
    "an unknown dtype": message(described(["x", "float80", [1], 10])),
    "a dtype that is a list": message(described(["x", [], [1], 10])),
    "a name that is a number": message(described([1, "bool", [1], 1]), b"1"),
    "more bytes than came": message(described(["x", "float32", [1], 4]), b"123"),
    "fewer bytes than values": message(described(["x", "float32", [2], 4]), b"1234"),
    "a size below zero": message(described(["x", "float32", [-1], -4]), b"1234"),
    "two sizes below zero": message(described(["x", "float32", [-1, -1], 4]), b"1234"),
    "a size that is a text": message(described(["x", "float32", ["1"], 4]), b"1234"),
    "texts without lengths": message(described(["x", "string", [9], 4]), b"1234"),
    "texts of another length": message(described(["x", "string", [1], 5]), struct.pack("<I", 2) + b"a"),
    "texts that are no UTF-8": message(described(["x", "string", [1], 5]), struct.pack("<I", 1) + b"\xff"),
    "memory that is missing": message({}, magic=b"ldgm", size=10),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_bytes_that_are_no_message_are_refused(name):
    with connected() as (_, receiver, raw):
        raw.sendall(GARBAGE[name])
        with pytest.raises(WireError):
            receiver.receive()


def memory(size: int, *, seals: int = 0, content: bytes = b"") -> int:
    descriptor = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    os.pwrite(descriptor, content, 0)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


SHRINKS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_GROW


@pytest.mark.parametrize(
    ("size", "seals", "refusal"),
    [(8, SHRINKS, "not sealed"), (4, SHRINKS | fcntl.F_SEAL_SHRINK, "too small")],
)
def test_memory_that_could_shrink_or_is_too_small_is_refused(size, seals, refusal):
    text = message(described(["x", "float32", [2], 8]), magic=b"ldgm", size=8)
    descriptor = memory(size, seals=seals)
    with connected() as (_, receiver, raw):
        socket.send_fds(raw, [text], [descriptor])
        with pytest.raises(WireError, match=refusal):
            receiver.receive()
    os.close(descriptor)


def test_memory_with_a_terabyte_of_holes_takes_none():
    text = message(described(["x", "float32", [2], 8]), magic=b"ldgm", size=8)
    descriptor = memory(1 << 40, seals=SHRINKS | fcntl.F_SEAL_SHRINK, content=np.float32([1, 2]).tobytes())
    with connected() as (_, receiver, raw):
        socket.send_fds(raw, [text], [descriptor])
        assert receiver.receive()[1]["x"].tolist() == [1, 2]
    assert os.fstat(descriptor).st_blocks < 1000
    os.close(descriptor)


def test_descriptors_that_come_with_a_message_are_closed_even_if_it_is_refused():
    read_end, write_end = os.pipe()
    with connected() as (_, receiver, raw):
        socket.send_fds(raw, [message({}, magic=b"ldgm", size=8)], [write_end])
        os.close(write_end)
        with pytest.raises(WireError, match="no memory"):
            receiver.receive()
        assert os.read(read_end, 1) == b""  # The last writer of the pipe has gone.
    os.close(read_end)


# --- outputs ---


def checked(dtype: str, value, *, rows: int = 2, shape: tuple[int | str, ...] = ("batch",)):
    return checked_outputs({"y": value}, [Declared("y", dtype, shape)], {"batch": rows})["y"]


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("float32", np.array([3, -4])),
        ("float32", np.array([1.5, np.nan])),
        ("float64", np.array([1.5, np.inf], "f4")),
        ("float16", np.array([0.5, -0.25])),
        ("int64", np.array([3.0, -4.0])),
        ("int64", np.array([True, False])),
        ("uint8", np.array([0, 255])),
        ("bool", np.array([1.0, 0.0])),
        ("int64", [1, 2]),
        ("float32", np.array([1, 2], ">f4")),
        ("uint64", np.array([0, 2.0**63])),
    ],
    ids=str,
)
def test_values_that_a_cast_does_not_change_are_cast(dtype, value):
    array = checked(dtype, value)
    assert array.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(array.astype("f8"), np.asarray(value).astype("f8"))


@pytest.mark.parametrize(
    ("dtype", "value", "found"),
    [
        ("float32", np.array([1, 2**24 + 1]), "int64"),
        ("float32", np.array([0.1, 0.5]), "float64"),
        ("float16", np.array([1.0, 70000.0], "f4"), "float32"),
        ("float64", np.array([1, 2**63 - 1]), "int64"),
        ("float64", np.array([1, 2**64 - 1], "u8"), "uint64"),
        ("int64", np.array([1.5, 2.0]), "float64"),
        ("int64", np.array([1.0, np.nan]), "float64"),
        ("int64", np.array([1.0, 2.0**63]), "float64"),
        ("uint8", np.array([1, 256]), "int64"),
        ("uint8", np.array([1, -1]), "int64"),
        ("int64", np.array([1, 2**64 - 1], "u8"), "uint64"),
        ("bool", np.array([1, 2]), "int64"),
        ("float32", np.array([1.0, None], object), "object"),
        ("float32", np.array(["1", "2"]), "<U1"),
        ("float32", np.array([1j, 2]), "complex128"),
        ("int64", np.array(["2020-01-01", "2020-01-02"], "M8[D]"), "datetime64"),
        ("string", np.array([1.0, 2.0]), "float64"),
        ("string", np.array(["a", np.nan], object), "float nan at value 1"),
        ("string", np.array(["a", None], object), "NoneType"),
        ("string", np.array(["a", b"\xff"], object), "type `bytes` at value 1"),
        ("string", np.array([b"a", b"\xff"]), "|S1"),
        ("string", np.array(["a", "\ud800"], object), "lone surrogate at value 1"),
    ],
    ids=str,
)
def test_values_that_a_cast_would_change_are_refused(dtype, value, found):
    with pytest.raises(Refusal) as caught:
        checked(dtype, value)
    assert (caught.value.kind, caught.value.where) == ("output", "output `y`")
    assert found in caught.value.found


@pytest.mark.parametrize("value", [np.array(["a", "한글"]), np.array(["a", "한글"], object), ["a", "한글"]])
def test_texts_of_every_kind_of_array_are_accepted(value):
    assert checked("string", value).tolist() == ["a", "한글"]


@pytest.mark.parametrize(
    ("shape", "value", "expected"),
    [
        (("batch",), np.zeros(3), "[2]"),
        (("batch",), np.float64(1), "[2]"),
        (("batch", 3), np.zeros((2, 4)), "[2, 3]"),
        (("batch", "n"), np.zeros((2, 4)), "[2, 5]"),
        (("batch", "k", "k"), np.zeros((2, 3, 4)), "[2, 3, 3]"),
        (("batch", 3), np.zeros(6), "[2, 3]"),
    ],
)
def test_shapes_other_than_declared_are_refused(shape, value, expected):
    with pytest.raises(Refusal) as caught:
        checked_outputs({"y": value}, [Declared("y", "float64", shape)], {"batch": 2, "n": 5})
    assert caught.value.expected == f"shape `{expected}`"


def test_sizes_without_a_name_are_independent():
    checked_outputs({"y": np.zeros((2, 3, 4))}, [Declared("y", "float64", ("batch", "?", "?"))], {"batch": 2})


TWO = [Declared("a", "float64", ("batch",)), Declared("b", "float64", ("batch",))]


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"], ["A", "b"]])
def test_names_other_than_declared_are_refused(names):
    with pytest.raises(Refusal) as caught:
        checked_outputs({name: np.zeros(2) for name in names}, TWO, {"batch": 2})
    assert caught.value.expected == "`a`, `b`"
    assert caught.value.found == ", ".join(f"`{name}`" for name in names)


def test_an_answer_that_is_one_array_is_the_only_output():
    assert [*checked_outputs([1.0, 2.0], TWO[:1], {"batch": 2})] == ["a"]
    with pytest.raises(Refusal, match="the answer of the model"):
        checked_outputs([1.0, 2.0], TWO, {"batch": 2})


def test_the_public_model_class_is_the_one_that_model_processes_have():
    assert lading.Model is shim.Model
    assert (lading.Model.__module__, lading.Model.__qualname__) == ("lading", "Model")


def test_the_file_of_model_processes_needs_the_standard_library_and_numpy_only():
    code = f"""
import runpy, sys
runpy.run_path({shim.__file__!r}, run_name="shim")
own = {{name.partition(".")[0] for name, module in sys.modules.items() if getattr(module, "__file__", None)}}
print(*sorted(own - set(sys.stdlib_module_names) - {{"sitecustomize"}}))
"""
    command = [sys.executable, "-I", "-c", code]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in names if not name.startswith("_")] == ["numpy"]
