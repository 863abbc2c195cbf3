"""Which IR version and opsets a model file has, and which ONNX Runtime reads here.

Reads the few fields it needs from the protobuf (a serving host has no `onnx` package) and skips the graph.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from lading.errors import ModelInvalid, OperatorUnsupported

Probe = Callable[[bytes], str]
"""Gives ONNX Runtime's complaint about the bytes of a model."""

_UNREACHED = 1_000_000
_IR_LIMIT = re.compile(r"max supported IR version: (\d+)")
_OPSET_LIMIT = re.compile(r"support for domain \S+ is till opset (\d+)")


@dataclass(frozen=True)
class ModelVersions:
    """The IR version and the opset of each domain; the default domain is called ``ai.onnx``."""

    ir: int
    opsets: dict[str, int]

    def __str__(self) -> str:
        named = (f"{domain} {version}" for domain, version in self.opsets.items())
        return f"IR {self.ir}, {', '.join(named) or 'no opset'}"


def model_versions(path: Path) -> ModelVersions:
    """Read the versions from an ONNX file: fields 1 and 8 of ModelProto. Raises `ModelInvalid`."""
    ir, opsets = 0, {}
    try:
        with path.open("rb") as file:
            for number, value in _fields(file, path.stat().st_size, {8}):
                if number == 1 and isinstance(value, int):
                    ir = value
                elif number == 8 and isinstance(value, bytes):
                    domain, version = _opset(value)
                    opsets[domain] = version
    except (OSError, EOFError, ValueError) as error:
        found = str(error) or "the end in the middle"
        raise ModelInvalid(f"model `{path.name}`", expected="an ONNX model", found=found) from None
    return ModelVersions(ir, opsets)


def unsupported(name: str, versions: ModelVersions, probe: Probe) -> OperatorUnsupported | None:
    """Say which version of the model is newer than ONNX Runtime's, if one is."""
    limit = supported_ir(probe)
    hint = "convert the model again for an older version, or serve with a newer ONNX Runtime"
    if limit is not None and versions.ir > limit:
        where = f"IR version of `{name}`"
        return OperatorUnsupported(where, expected=f"at most {limit}", found=f"{versions.ir}", hint=hint)
    for domain, version in versions.opsets.items():
        limit = supported_opset(domain, probe)
        if limit is not None and version > limit:
            where = f"opset of `{domain}` in `{name}`"
            return OperatorUnsupported(where, expected=f"at most {limit}", found=f"{version}", hint=hint)
    return None


@lru_cache
def supported_ir(probe: Probe) -> int | None:
    """Give the newest IR version that ONNX Runtime reads; None where it does not say.

    There is no function for it, so it is asked with a model of a few bytes that is far too new.
    """
    return _limit(_IR_LIMIT, probe(_tiny(_UNREACHED, "ai.onnx", 1)))


@lru_cache
def supported_opset(domain: str, probe: Probe) -> int | None:
    """Give the newest opset of `domain` that ONNX Runtime reads; None where it does not say."""
    return _limit(_OPSET_LIMIT, probe(_tiny(8, domain, _UNREACHED)))


def _limit(pattern: re.Pattern[str], complaint: str) -> int | None:
    found = pattern.search(complaint)
    return int(found[1]) if found else None


def _tiny(ir: int, domain: str, version: int) -> bytes:
    """Build a ModelProto of one empty graph named ``g``."""
    name = b"" if domain == "ai.onnx" else domain.encode()
    opset = b"\x0a" + _varint(len(name)) + name + b"\x10" + _varint(version)
    return b"\x08" + _varint(ir) + b"\x3a\x03\x12\x01g" + b"\x42" + _varint(len(opset)) + opset


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _opset(data: bytes) -> tuple[str, int]:
    import io

    domain, version = "", 0
    for number, value in _fields(io.BytesIO(data), len(data), {1}):
        if number == 1 and isinstance(value, bytes):
            domain = value.decode("utf-8")
        elif number == 2 and isinstance(value, int):
            version = value
    return domain or "ai.onnx", version


def _fields(file: BinaryIO, size: int, wanted: set[int]) -> Iterator[tuple[int, int | bytes]]:
    """Give the varints and the `wanted` length-delimited fields of one protobuf message; skip the others."""
    while file.tell() < size:
        key = _read_varint(file)
        number, wire = key >> 3, key & 7
        if wire == 0:
            yield number, _read_varint(file)
        elif wire == 2:
            length = _read_varint(file)
            if length > size - file.tell():
                raise ValueError(f"field {number} longer than the file")
            if number in wanted:
                yield number, file.read(length)
            else:
                file.seek(length, 1)
        elif wire in (1, 5):
            file.seek(8 if wire == 1 else 4, 1)
        else:
            raise ValueError(f"wire type {wire} of field {number}")


def _read_varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise EOFError
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("a number of more than ten bytes")
