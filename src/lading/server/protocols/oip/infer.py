"""``POST …/infer``: JSON, tensors as bytes behind it, both mixed, or nothing but one tensor's bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from lading.errors import BodyInvalid, InputUnknown, ShapeRefused
from lading.server.codecs import nan_json as lenient
from lading.server.http.messages import Request, Response
from lading.server.inference.dataplane import check_outputs, rows_in
from lading.server.inference.job import Job
from lading.server.inference.version import ServedVersion
from lading.server.protocols import UNREADABLE, unread
from lading.server.protocols.oip import json_text as jsontext
from lading.server.protocols.oip import tensors
from lading.server.protocols.oip.bodies import Asking, Body, Input, QuickBody, plain_reader
from lading.server.protocols.oip.selection import Asked, WantedOutput, plain_outputs
from lading.signature import Array, Tensor

LENGTH = b"inference-header-content-length"
"""The header that says how much of a body is JSON."""

BINARY = b"application/octet-stream"


_LONGEST_REMEMBERED, _MOST_REMEMBERED = 1024, 256
"""Longest JSON that is remembered, and how many: clients send the same before each of their tensors."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the JSON before binary tensors says: which inputs lie behind it, and what is asked."""

    inputs: tuple[tuple[Tensor, list[int], slice], ...]
    size: int
    asked: Asked

    @classmethod
    def of(cls, served: ServedVersion, inputs: Sequence[Input], asked: Asked) -> _Layout:
        """Note where inputs lie that were read already, all of them as bytes."""
        found, start = [], 0
        for one in inputs:
            size = _binary_size(one, "") or 0
            found.append((served.signature.input(one.name), one.shape, slice(start, start + size)))
            start += size
        return cls(tuple(found), start, asked)

    def arrays(self, binary: memoryview) -> dict[str, Array]:
        """View other bytes in the same way."""
        return {
            tensor.name: tensors.from_bytes(tensor, shape, binary[where])
            for tensor, shape, where in self.inputs
        }


_decoder = msgspec.json.Decoder(QuickBody)


class _Plan:
    """What is prepared once for a version: how plain bodies are read, and answers to them written."""

    __slots__ = ("_asked", "_head", "_input", "_read", "_served")

    def __init__(self, served: ServedVersion) -> None:
        self._served = served
        self._read = plain_reader(served.signature)
        self._input = served.signature.inputs[0].name
        self._asked = plain_outputs(served, (), binary=False)
        self._head = _head(served, "")

    def job(self, body: bytes) -> Job | None:
        """Read a plain body; None where it is another."""
        plain = self._read(body) if self._read is not None else None
        if plain is None:
            return None
        inputs = {self._input: plain.array}
        if plain.asking is not None or plain.id:
            asked = _wanted(self._served, plain.asking) if plain.asking is not None else self._asked
            return _job(self._served, inputs, asked, plain.id)
        return Job(self._served, inputs, self._asked.compute, self._encode, plain.rows)

    def _encode(self, outputs: dict[str, Array]) -> Response:
        return _encode(self._served, self._head, self._asked, outputs)


def _plan(served: ServedVersion) -> _Plan:
    plans = served.model.plans
    plan: _Plan | None = plans.get(_Plan)
    if plan is None:
        plan = plans[_Plan] = _Plan(served)
    return plan


def infer(request: Request, served: ServedVersion) -> Job:
    """Read the body of `request` for the version `served`."""
    if LENGTH not in request.headers:
        job = _plan(served).job(request.body)
        if job is not None:
            return job
    size = _json_size(request)
    if size == 0:
        return _raw(served, request.body)
    view = memoryview(request.body)
    binary = view[size:]
    text = bytes(view[:size]) if binary and size <= _LONGEST_REMEMBERED else b""
    layouts: dict[bytes, _Layout] = served.model.plans.setdefault(_Layout, {})
    layout = layouts.get(text)
    if layout is not None and layout.size == len(binary):
        return _job(served, served.signature.cast(layout.arrays(binary)), layout.asked, "")
    body = _parse(view[:size])
    inputs = served.signature.cast(_arrays(served, body.inputs, binary))
    asked = _wanted(served, body)
    if text and not body.id and all(one.data is None for one in body.inputs):
        if len(layouts) >= _MOST_REMEMBERED:  # Clients choose how many forms there are.
            layouts.clear()
        layouts[text] = _Layout.of(served, body.inputs, asked)
    return _job(served, inputs, asked, body.id)


def _json_size(request: Request) -> int:
    text = request.headers.get(LENGTH)
    if text is None:
        return len(request.body)
    if not text.isdigit() or len(text) > 18 or int(text) > len(request.body):
        expected = f"a length of at most {len(request.body)}"
        raise BodyInvalid(f"`{LENGTH.decode()}`", expected=expected, found=f"`{text.decode('latin-1')}`")
    return int(text)


def _parse(text: memoryview) -> Body:
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise _unreadable(error) from None
    except UNREADABLE as error:
        return _parse_with_nan(text, error)


def _parse_with_nan(text: memoryview, error: Exception) -> Body:
    """Parse again where NaN or infinities, which JSON does not have, may be what stood in the way."""
    given = bytes(text)
    if not lenient.may_have_nan(given):
        raise _unreadable(error) from None
    try:
        return msgspec.convert(lenient.loads(given), Body)
    except msgspec.ValidationError as other:
        raise _unreadable(other) from None
    except UNREADABLE:
        raise _unreadable(error) from None


def _unreadable(error: Exception) -> BodyInvalid:
    hint = 'send `{"inputs": [{"name", "shape", "datatype", "data"}]}`'
    return BodyInvalid(f"body: {unread(error)}", hint=hint)


def _arrays(served: ServedVersion, inputs: Sequence[Input], binary: memoryview) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    start = 0
    for at, one in enumerate(inputs):
        path = f"$.inputs[{at}]"
        tensor = served.signature.input(one.name)
        if one.name in arrays:
            raise InputUnknown(f"`{path}`", expected="each input once", found=f"`{one.name}` again")
        tensors.check_declared(tensor, one.datatype, one.shape)
        size = _binary_size(one, path)
        if size is None:
            if one.data is None:
                raise BodyInvalid(f"`{path}`", expected="`data`, or `binary_data_size`", found="neither")
            arrays[one.name] = jsontext.read_data(tensor, one.shape, one.data, f"{path}.data")
            continue
        if start + size > len(binary):
            found = f"{len(binary) - start} bytes behind the JSON"
            raise ShapeRefused(f"input `{one.name}`", expected=f"{size} bytes", found=found)
        arrays[one.name] = tensors.from_bytes(tensor, one.shape, binary[start : start + size])
        start += size
    if start != len(binary):
        raise BodyInvalid("body", expected=f"{start} bytes behind the JSON", found=f"{len(binary)}")
    return arrays


def _binary_size(one: Input, path: str) -> int | None:
    given = one.parameters or {}
    if "shared_memory_region" in given:
        raise BodyInvalid(f"`{path}`", expected="the tensor in the request", found="shared memory")
    size = given.get("binary_data_size")
    if size is None:
        return None
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        where = f"`{path}.parameters.binary_data_size`"
        raise BodyInvalid(where, expected="a number of bytes", found=f"`{size}`")
    return size


def _raw(served: ServedVersion, body: bytes) -> Job:
    """Read a body that is one tensor and nothing else; every output goes back as bytes."""
    inputs = served.signature.inputs
    if len(inputs) != 1:
        expected = f"JSON, because `{served.label}` has {len(inputs)} inputs"
        raise BodyInvalid("raw body", expected=expected, found="no JSON")
    tensor = inputs[0]
    shape = tensors.raw_shape(tensor, len(body))
    if tensor.dtype == "string":
        body = len(body).to_bytes(4, "little") + body
    arrays = served.signature.cast({tensor.name: tensors.from_bytes(tensor, shape, body)})
    return _job(served, arrays, plain_outputs(served, (), binary=True), "")


def _wanted(served: ServedVersion, body: Asking) -> Asked:
    binary = _flag(body.parameters, "binary_data_output", "$.parameters")
    if not body.outputs:
        return plain_outputs(served, (), binary=bool(binary))
    check_outputs(served, [one.name for one in body.outputs])
    known = {tensor.name: tensor for tensor in served.signature.outputs}
    return Asked.of(
        served,
        (
            _wanted_one(known[one.name], one.parameters, f"$.outputs[{at}].parameters", binary=bool(binary))
            for at, one in enumerate(body.outputs)
        ),
    )


def _wanted_one(
    tensor: Tensor, parameters: Mapping[str, Any] | None, path: str, *, binary: bool
) -> WantedOutput:
    own = _flag(parameters, "binary_data", path)
    most = (parameters or {}).get("classification", 0)
    return WantedOutput.checked(tensor, most, path, binary=binary if own is None else own)


def _flag(parameters: Mapping[str, Any] | None, name: str, path: str) -> bool | None:
    value = parameters.get(name) if parameters else None
    if value is not None and not isinstance(value, bool):
        raise BodyInvalid(f"`{path}.{name}`", expected="true or false", found=f"`{value}`")
    return value


def _job(served: ServedVersion, inputs: dict[str, Array], asked: Asked, id: str | None) -> Job:
    head = _head(served, id)

    def encode(outputs: dict[str, Array]) -> Response:
        return _encode(served, head, asked, outputs)

    return Job(served, inputs, asked.compute, encode, rows_in(served, inputs))


def _head(served: ServedVersion, id: str | None) -> dict[str, Any]:
    head = {"model_name": served.name, "model_version": str(served.version)}
    return {**head, "id": id} if id else head


def _encode(
    served: ServedVersion, head: dict[str, Any], asked: Asked, outputs: Mapping[str, Array]
) -> Response:
    shown, behind = [], []
    for one in asked.outputs:
        array = one.of(served, outputs)
        tensor: dict[str, Any] = {"name": one.tensor.name, "datatype": one.datatype, "shape": array.shape}
        if one.binary:
            data = tensors.to_bytes(array)
            tensor["parameters"] = {"binary_data_size": len(data)}
            behind.append(data)
        else:
            tensor["data"] = jsontext.flat(array)
        shown.append(tensor)
    text = jsontext.dumps({**head, "outputs": shown})
    if not behind:
        return Response(text)
    headers = ((LENGTH, b"%d" % len(text)),)
    return Response(b"".join((text, *behind)), content_type=BINARY, headers=headers)
