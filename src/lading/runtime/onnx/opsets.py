"""The IR version and opsets of a model file, and the newest that ONNX Runtime reads here.

Reads the few fields that it needs from the protobuf (a serving host has no `onnx` package) and skips the
graph.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lading.bundle.onnx_wire import Buffer, encode_varint, raise_malformed, read_fields
from lading.errors import ModelInvalid, OperatorUnsupported
from lading.onnx_runtime import LOG_FATAL, import_onnxruntime
from lading.onnx_runtime.error_text import session_errors

CPU_ONLY = ("CPUExecutionProvider",)
"""The execution providers of every session."""

_FAR_TOO_NEW = 1_000_000
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
    """Read the versions of an ONNX file; raises `ModelInvalid`."""
    ir, opsets = 0, {}
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as model:
            # onnx.proto: field 1 of ModelProto is `ir_version`, field 8 `opset_import`.
            for number, start, end, value in read_fields(model, 0, len(model), (8,), (1,)):
                if number == 1:
                    ir = value
                else:
                    domain, version = _opset(model, start, end)
                    opsets[domain] = version
    except (OSError, ValueError) as error:  # mmap raises `ValueError` for an empty file.
        raise ModelInvalid(f"model `{path.name}`", expected="an ONNX model", found=str(error)) from None
    return ModelVersions(ir, opsets)


def check_versions(path: Path) -> str:
    """Return the IR version and opsets of the model with the newest that are read here, as text.

    Raises `OperatorUnsupported`, `ModelInvalid`.
    """
    versions = model_versions(path)
    error = unsupported_version(path.name, versions)
    if error is not None:
        raise error
    limits = (f"{domain} ≤ {supported_opset(domain) or 'any'}" for domain in versions.opsets)
    return f"{versions}; ONNX Runtime {import_onnxruntime().__version__} reads {', '.join(limits)}"


def unsupported_version(name: str, versions: ModelVersions) -> OperatorUnsupported | None:
    """Return the error for the first version that is newer than ONNX Runtime reads, or None."""
    limit = supported_ir()
    hint = "convert the model again for an older version, or serve with a newer ONNX Runtime"
    if limit is not None and versions.ir > limit:
        where = f"IR version of `{name}`"
        return OperatorUnsupported(where, expected=f"at most {limit}", found=f"{versions.ir}", hint=hint)
    for domain, version in versions.opsets.items():
        limit = supported_opset(domain)
        if limit is not None and version > limit:
            where = f"opset of `{domain}` in `{name}`"
            return OperatorUnsupported(where, expected=f"at most {limit}", found=f"{version}", hint=hint)
    return None


@cache
def supported_ir() -> int | None:
    """Return the newest IR version that ONNX Runtime reads, or None if its message does not say."""
    # There is no function for it, but the error for a model that is far too new names the limit.
    return _limit(_IR_LIMIT, _load_error(_tiny_model(_FAR_TOO_NEW, "ai.onnx", 1)))


@cache
def supported_opset(domain: str) -> int | None:
    """Return the newest opset of `domain` that ONNX Runtime reads, or None if its message does not say."""
    return _limit(_OPSET_LIMIT, _load_error(_tiny_model(8, domain, _FAR_TOO_NEW)))


def _load_error(model: bytes) -> str:
    """Return ONNX Runtime's error message for the bytes of a model; empty if it loads."""
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = LOG_FATAL
    try:
        ort.InferenceSession(model, options, providers=list(CPU_ONLY))
    except session_errors() as error:
        return str(error)
    return ""


def _limit(pattern: re.Pattern[str], message: str) -> int | None:
    match = pattern.search(message)
    return int(match[1]) if match else None


def _tiny_model(ir: int, domain: str, version: int) -> bytes:
    """Encode a ModelProto of one empty graph named ``g``."""
    name = b"" if domain == "ai.onnx" else domain.encode()
    # Each field is a key byte (number << 3 | wire type), a length if it is one of bytes, and the value.
    opset = b"\x0a" + encode_varint(len(name)) + name + b"\x10" + encode_varint(version)
    return b"\x08" + encode_varint(ir) + b"\x3a\x03\x12\x01g" + b"\x42" + encode_varint(len(opset)) + opset


def _opset(model: Buffer, start: int, end: int) -> tuple[str, int]:
    domain, version = "", 0
    for number, low, high, value in read_fields(model, start, end, (1,), (2,)):
        if number == 1:
            domain = _text(model[low:high], low)
        else:
            version = value
    return domain or "ai.onnx", version


def _text(data: bytes, offset: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise_malformed("a domain that is not UTF-8", offset)
