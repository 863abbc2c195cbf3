"""Which IR version and opsets a model file has, and which ONNX Runtime reads here.

Reads the few fields it needs from the protobuf (a serving host has no `onnx` package) and skips the graph.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lading.bundle.onnx_wire import Buffer, fields, malformed, varint
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
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as model:
            for number, start, end, value in fields(model, 0, len(model), (8,), (1,)):
                if number == 1:
                    ir = value
                else:
                    domain, version = _opset(model, start, end)
                    opsets[domain] = version
    except (OSError, ValueError) as error:  # mmap has a `ValueError` for an empty file.
        raise ModelInvalid(f"model `{path.name}`", expected="an ONNX model", found=str(error)) from None
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
    """Return the newest IR version that ONNX Runtime reads; None where it does not say.

    There is no function for it, so it is asked with a model of a few bytes that is far too new.
    """
    return _limit(_IR_LIMIT, probe(_tiny(_UNREACHED, "ai.onnx", 1)))


@lru_cache
def supported_opset(domain: str, probe: Probe) -> int | None:
    """Return the newest opset of `domain` that ONNX Runtime reads; None where it does not say."""
    return _limit(_OPSET_LIMIT, probe(_tiny(8, domain, _UNREACHED)))


def _limit(pattern: re.Pattern[str], complaint: str) -> int | None:
    found = pattern.search(complaint)
    return int(found[1]) if found else None


def _tiny(ir: int, domain: str, version: int) -> bytes:
    """Build a ModelProto of one empty graph named ``g``."""
    name = b"" if domain == "ai.onnx" else domain.encode()
    opset = b"\x0a" + varint(len(name)) + name + b"\x10" + varint(version)
    return b"\x08" + varint(ir) + b"\x3a\x03\x12\x01g" + b"\x42" + varint(len(opset)) + opset


def _opset(model: Buffer, start: int, end: int) -> tuple[str, int]:
    domain, version = "", 0
    for number, low, high, value in fields(model, start, end, (1,), (2,)):
        if number == 1:
            domain = _text(model[low:high], low)
        else:
            version = value
    return domain or "ai.onnx", version


def _text(data: bytes, at: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        malformed("a domain that is not UTF-8", at)
