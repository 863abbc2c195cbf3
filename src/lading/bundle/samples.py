"""``samples.npz``: golden inputs and the outputs expected of them, as deterministic bytes.

Reads and writes one kind of zip (stored entries) of one kind of array (plain dtypes). It never unpickles,
never inflates and never trusts a length: what a header claims is compared with the actual bytes.
"""

from __future__ import annotations

import io
import math
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lading.bundle.manifest import SAMPLES_FILE, quote, size_limit, too_large
from lading.errors import DuplicateEntry, InputError, SamplesInvalid
from lading.signature import Array, Signature, Tensor, cast_array

MAX_ROWS = 256
_DOS_1980 = 0x0021  # 1 January 1980, the earliest date that zip knows
_MAX_NPY_HEADER = 4096
_NPY_HEADER = re.compile(
    rb"\{'descr': '([<>|=]?[A-Za-z][0-9]*)', 'fortran_order': (True|False), "
    rb"'shape': \(((?:[0-9]{1,18}, )*(?:[0-9]{1,18},?)?)\), \} *\n"
)


@dataclass(frozen=True, slots=True)
class Samples:
    """Golden rows by tensor name, in the signature's order; strings are object arrays of ``str``.

    Every array of a batched tensor has ``rows`` rows; if nothing is batched, ``rows`` is 1.
    """

    inputs: dict[str, Array]
    outputs: dict[str, Array]
    rows: int

    def __repr__(self) -> str:
        def names(arrays: dict[str, Array]) -> str:
            return ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())

        return f"Samples({self.rows} rows: {names(self.inputs)} → {names(self.outputs)})"


def encode_samples(signature: Signature, samples: Samples) -> bytes:
    """Return the bytes of ``samples.npz``; the same arrays give the same bytes. Raises `SamplesInvalid`."""
    arrays = {**_keyed("input", samples.inputs), **_keyed("output", samples.outputs)}
    entries, total = [], 0
    expected = list(_entries(signature))
    unknown = arrays.keys() - {(side, tensor.name) for _, side, tensor in expected}
    if unknown:
        side, name = min(unknown)
        raise SamplesInvalid(f"golden {side}s", expected="those of the signature", found=quote(name))
    for name, side, tensor in expected:
        if (side, tensor.name) not in arrays:
            raise SamplesInvalid(f"golden {side} `{tensor.name}`", expected=f"`{tensor}`", found="none")
        array = arrays[side, tensor.name]
        _check_array(side, tensor, array)
        # numpy stores text with four bytes per character, padded to the longest.
        total += array.size * (4 * _longest(array) if tensor.dtype == "string" else array.itemsize)
        if total > size_limit(SAMPLES_FILE):
            raise too_large(SAMPLES_FILE, total, size_limit(SAMPLES_FILE))
        entries.append((name, _encode_npy(array)))
    _check_rows(signature, samples)
    return _zip(entries)


def decode_samples(signature: Signature, data: bytes) -> Samples:
    """Read the bytes of ``samples.npz`` and check that they fit `signature`.

    Raises `SamplesInvalid`, `DuplicateEntry`, `TooLarge`.
    """
    if len(data) > size_limit(SAMPLES_FILE):
        raise too_large(SAMPLES_FILE, len(data), size_limit(SAMPLES_FILE))
    members = _unzip(data)
    expected = list(_entries(signature))
    for name in members.keys() - {name for name, _, _ in expected}:
        raise SamplesInvalid(f"`{SAMPLES_FILE}`", expected="an entry per input and output", found=quote(name))
    sides: dict[str, dict[str, Array]] = {"input": {}, "output": {}}
    for name, side, tensor in expected:
        if name not in members:
            raise SamplesInvalid(f"`{SAMPLES_FILE}`", expected=f"`{name}`, `{tensor}`", found="no such entry")
        sides[side][tensor.name] = _decode_npy(name, side, tensor, members[name])
    batched = [sides[side][tensor.name] for _, side, tensor in expected if tensor.batched]
    samples = Samples(sides["input"], sides["output"], len(batched[0]) if batched else 1)
    _check_rows(signature, samples)
    return samples


def _entries(signature: Signature) -> Iterator[tuple[str, str, Tensor]]:
    """Return entry name, side and tensor of each array, in order."""
    # Entries are named by index, because a tensor may have a name that no file can have.
    for side, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for at, tensor in enumerate(tensors):
            yield f"{side}_{at}.npy", side, tensor


def _keyed(side: str, arrays: Mapping[str, Array]) -> dict[tuple[str, str], Array]:
    return {(side, name): array for name, array in arrays.items()}


def _check_array(side: str, tensor: Tensor, array: Array) -> None:
    where = f"golden {side} `{tensor.name}`"
    if array.dtype != tensor.numpy_dtype:
        raise SamplesInvalid(where, expected=f"`{tensor}`", found=f"dtype `{array.dtype}`")
    # An output may be NaN (and must then be NaN when it is served); an input only if its tensor allows it.
    checked = tensor if side == "input" else _with_nan(tensor)
    try:
        cast_array(checked, array)
    except InputError as error:
        raise SamplesInvalid(where, expected=f"`{tensor}`", found=error.found) from None


def _with_nan(tensor: Tensor) -> Tensor:
    fields = {name: getattr(tensor, name) for name in ("name", "dtype", "shape")}
    return Tensor(**fields, allows_nan=True)


def _check_rows(signature: Signature, samples: Samples) -> None:
    if not 1 <= samples.rows <= MAX_ROWS:
        expected = f"1 to {MAX_ROWS} golden rows"
        raise SamplesInvalid(f"`{SAMPLES_FILE}`", expected=expected, found=str(samples.rows))
    for _, side, tensor in _entries(signature):
        arrays = samples.inputs if side == "input" else samples.outputs
        rows = len(arrays[tensor.name]) if tensor.batched else samples.rows
        if rows != samples.rows:
            where = f"golden {side} `{tensor.name}`"
            raise SamplesInvalid(where, expected=f"{samples.rows} rows", found=str(rows))


def _longest(array: Array) -> int:
    return max((len(text) for text in array.flat), default=0)


def _encode_npy(array: Array) -> bytes:
    """Encode as ``.npy`` 1.0; by hand, because numpy's padding has changed between versions."""
    plain = array.astype(f"<U{max(1, _longest(array))}") if array.dtype.kind == "O" else array
    plain = np.ascontiguousarray(plain, dtype=plain.dtype.newbyteorder("<")).reshape(array.shape)
    header = f"{{'descr': '{plain.dtype.str}', 'fortran_order': False, 'shape': {plain.shape!r}, }}"
    padding = -(10 + len(header) + 1) % 64
    head = struct.pack("<6sBBH", b"\x93NUMPY", 1, 0, len(header) + padding + 1)
    return head + header.encode("ascii") + b" " * padding + b"\n" + plain.tobytes()


def _decode_npy(name: str, side: str, tensor: Tensor, data: memoryview) -> Array:
    """Read one ``.npy`` entry, whose dtype, shape and length must be exactly the tensor's."""
    where = f"`{SAMPLES_FILE}` entry `{name}`"
    header, body = _split_npy(where, data)
    descr, fortran, numbers = header
    if descr == "|O":
        hint = "pickled objects are never read"
        raise SamplesInvalid(where, expected=f"`{tensor}`", found="dtype `object`", hint=hint)
    is_text = tensor.dtype == "string" and re.fullmatch(r"<U[0-9]{1,9}", descr)
    if not is_text and descr != tensor.numpy_dtype.newbyteorder("<").str:
        raise SamplesInvalid(where, expected=f"`{tensor}`", found=f"dtype {quote(descr)}")
    dtype, shape = np.dtype(descr), tuple(int(number) for number in numbers)
    if math.prod(shape) * dtype.itemsize != len(body):
        expected = f"as many bytes as `{descr}` of shape {list(shape)} has"
        raise SamplesInvalid(where, expected=expected, found=str(len(body)))
    flat = _decode_strings(where, body, dtype) if is_text else np.frombuffer(body, dtype)
    array = np.array(flat.reshape(shape, order="F" if fortran else "C"), order="C")
    _check_array(side, tensor, array)
    return array


def _split_npy(where: str, data: memoryview) -> tuple[tuple[str, bool, list[str]], memoryview]:
    """Return the dtype, Fortran order and sizes in an ``.npy`` header, and the bytes after it."""
    # numpy writes the header in one form only, so a pattern reads it; numpy's own reader evaluates a literal.
    start = {b"\x93NUMPY\x01\0": 10, b"\x93NUMPY\x02\0": 12}.get(bytes(data[:8]))
    end = start + int.from_bytes(data[8:start], "little") if start else 0
    match = _NPY_HEADER.fullmatch(bytes(data[start:end])) if end <= min(len(data), _MAX_NPY_HEADER) else None
    if match is None:
        raise SamplesInvalid(where, expected="an array as numpy writes it", found="another header")
    descr, fortran, sizes = (group.decode("ascii") for group in match.groups())
    return (descr, fortran == "True", re.findall("[0-9]+", sizes)), data[end:]


def _decode_strings(where: str, body: memoryview, dtype: np.dtype[Any]) -> Array:
    # Checked as numbers first: from code points beyond Unicode numpy makes broken strings.
    if np.frombuffer(body, "<u4").max(initial=0) > sys.maxunicode:
        raise SamplesInvalid(where, expected="Unicode text", found="a code point above U+10FFFF")
    if dtype.itemsize == 0:
        raise SamplesInvalid(where, expected="`<U1` or wider", found="`<U0`")
    return np.frombuffer(body, dtype).astype(object)


def _unzip(data: bytes) -> dict[str, memoryview]:
    where = f"`{SAMPLES_FILE}`"
    members: dict[str, memoryview] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _check_infos(where, infos, len(data))
            for info in infos:
                members[info.filename] = memoryview(archive.read(info))
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError, struct.error) as error:
        raise SamplesInvalid(where, expected="a zip of stored entries", found=str(error)) from None
    return members


def _check_infos(where: str, infos: list[zipfile.ZipInfo], size: int) -> None:
    names: set[str] = set()
    for info in infos:
        if info.filename in names:
            raise DuplicateEntry(where, expected="each entry once", found=f"{quote(info.filename)} twice")
        names.add(info.filename)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise SamplesInvalid(
                where,
                expected="stored entries only",
                found=f"{quote(info.filename)} compressed",
                hint="np.savez writes stored entries, np.savez_compressed does not",
            )
        if info.flag_bits & 0x1:
            raise SamplesInvalid(where, expected="plain entries", found=f"{quote(info.filename)} encrypted")
    # Overlapping entries could expand a small file to any size (the "better zip bomb" of D. Fifield, 2019).
    if sum(info.file_size for info in infos) > size:
        raise SamplesInvalid(where, expected="entries that do not overlap", found="more bytes than the file")


def _zip(entries: list[tuple[str, bytes]]) -> bytes:
    """Return a zip of stored entries dated 1980; by hand, so that no library version changes a byte."""
    body, directory = bytearray(), bytearray()
    for name, data in entries:
        encoded = name.encode("ascii")
        # version 2.0, no flags, stored, time 0, date, crc, both sizes, name length, no extra field
        fields = struct.pack(
            "<HHHHHIIIHH", 20, 0, 0, 0, _DOS_1980, zlib.crc32(data), len(data), len(data), len(encoded), 0
        )
        # no comment, disk 0, no attributes, offset of the entry
        place = struct.pack("<HHHII", 0, 0, 0, 0, len(body))
        directory += b"PK\x01\x02" + struct.pack("<H", 20) + fields + place + encoded
        body += b"PK\x03\x04" + fields + encoded + data
    end = struct.pack("<HHHHIIH", 0, 0, len(entries), len(entries), len(directory), len(body), 0)
    return bytes(body + directory + b"PK\x05\x06" + end)
