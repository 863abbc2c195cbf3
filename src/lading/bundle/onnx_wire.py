"""The protobuf wire format of an ONNX model, read field by field and without the onnx package.

Fields that the caller does not name are skipped unread. Source: protobuf.dev, "Encoding".
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import NoReturn

from lading.bundle.manifest import MODEL_FILE
from lading.errors import ModelInvalid

Buffer = bytes | mmap.mmap

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_fields(
    model: Buffer, at: int, end: int, messages: Collection[int], varints: Collection[int] = ()
) -> Iterator[tuple[int, int, int, int]]:
    """Return number, start, end and value of each field in `messages` or `varints`; skip all others.

    `messages` are the fields with a length: messages, strings, bytes. Raises `ModelInvalid`.
    """
    while at < end:
        begin = at
        tag, at = _read_varint(model, at, end, most=5)  # A tag and a length have 32 bits: five bytes.
        number, wire = tag >> 3, tag & 7
        if number == 0 or tag >= 2**32:
            raise_malformed("field number out of range", begin)
        low, value = at, 0
        if wire == _BYTES:
            size, low = _read_varint(model, at, end, most=5)
            at = low + size
        elif wire == _VARINT:
            value, at = _read_varint(model, at, end, most=10)
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise_malformed(f"wire type {wire}", begin)
        if at > end:
            raise_malformed("a field that ends after its message", begin)
        if (wire == _BYTES and number in messages) or (wire == _VARINT and number in varints):
            yield number, low, at, value
        elif at < end and tag < 0x80 and model[at] == tag:
            # Tree ensembles repeat one field millions of times: a compiled pattern skips the whole run.
            at = _run(tag).match(model, at, end).end()  # type: ignore[union-attr]


@lru_cache(maxsize=128)
def _run(tag: int) -> re.Pattern[bytes]:
    """Compile a pattern for any number of well-formed fields with the same one-byte `tag`."""
    bodies = {
        _VARINT: b"[\x80-\xff]{0,9}[\x00-\x7f]",
        _FIXED64: b".{8}",
        _FIXED32: b".{4}",
        _BYTES: b"(?:" + b"|".join(re.escape(bytes([size])) + b".{%d}" % size for size in range(32)) + b")",
    }
    # Possessive (`*+`), so that the engine does not keep a way back for each of millions of repetitions.
    return re.compile(b"(?:" + re.escape(bytes([tag])) + bodies[tag & 7] + b")*+", re.DOTALL)


def _read_varint(model: Buffer, at: int, end: int, *, most: int) -> tuple[int, int]:
    value = shift = 0
    for place in range(at, min(at + most, end)):
        byte = model[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    return raise_malformed("a number that does not end", at)


def raise_malformed(problem: str, at: int) -> NoReturn:
    """Raise the `ModelInvalid` of a model that is wrong at byte `at`."""
    raise ModelInvalid(f"`{MODEL_FILE}`", expected="an ONNX model", found=f"{problem}, at byte {at}")


def encode_varint(value: int) -> bytes:
    """Return an unsigned number as a varint: seven bits per byte, the lowest first."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
