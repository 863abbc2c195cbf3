"""``POST …/infer``: JSON, tensors as bytes behind it, both mixed, or nothing but one tensor's bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from lading.errors import BodyInvalid, InputUnknown, MediaTypeRefused, ShapeRefused
from lading.server.dataplane import check_outputs, rows_in
from lading.server.http import Request, Response
from lading.server.job import Job
from lading.server.protocols.oip import jsontext, tensors
from lading.server.protocols.oip.wanted import WantedOutput, all_outputs, compute
from lading.server.states import Served
from lading.signature import Array, Tensor

LENGTH = b"inference-header-content-length"
"""The header that says how much of a body is JSON."""

BINARY = b"application/octet-stream"


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: Any = None
    parameters: dict[str, Any] | None = None


class _Quick(_Input):
    data: msgspec.Raw = None  # type: ignore[assignment]  # absent, where the tensor is behind the JSON


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class _Body(msgspec.Struct):
    inputs: list[_Input]
    outputs: list[_Output] | None = None
    id: str = ""
    parameters: dict[str, Any] | None = None


class _QuickBody(_Body):
    inputs: list[_Quick]  # type: ignore[assignment]


_decoder = msgspec.json.Decoder(_QuickBody)


def infer(request: Request, served: Served) -> Job:
    """Read the body of `request` for the version `served`."""
    if b"content-encoding" in request.headers:
        found = f"`{request.headers[b'content-encoding'].decode('latin-1')}`"
        raise MediaTypeRefused("`content-encoding`", expected="a body that is not compressed", found=found)
    size = _json_size(request)
    if size == 0:
        return _raw(served, request.body)
    view = memoryview(request.body)
    body = _parse(view[:size])
    inputs = served.signature.cast(_arrays(served, body.inputs, view[size:]))
    wanted = _wanted(served, body)
    return _job(served, inputs, wanted, body.id)


def _json_size(request: Request) -> int:
    text = request.headers.get(LENGTH)
    if text is None:
        return len(request.body)
    if not text.isdigit() or int(text) > len(request.body):
        expected = f"a length of at most {len(request.body)}"
        raise BodyInvalid(f"`{LENGTH.decode()}`", expected=expected, found=f"`{text.decode('latin-1')}`")
    return int(text)


def _parse(text: memoryview) -> _Body:
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise _unreadable(error) from None
    except (msgspec.DecodeError, RecursionError) as error:
        return _parse_with_nan(text, error)


def _parse_with_nan(text: memoryview, error: Exception) -> _Body:
    """Parse again where NaN or infinities, which JSON does not have, may be what stood in the way."""
    given = bytes(text)
    if b"NaN" not in given and b"Infinity" not in given:
        raise _unreadable(error) from None
    try:
        return msgspec.convert(jsontext.loads_with_nan(given), _Body)
    except msgspec.ValidationError as other:
        raise _unreadable(other) from None
    except (ValueError, RecursionError):
        raise _unreadable(error) from None


def _unreadable(error: Exception) -> BodyInvalid:
    text = str(error) or type(error).__name__
    hint = 'send `{"inputs": [{"name", "shape", "datatype", "data"}]}`'
    return BodyInvalid(f"body: {text[:1].lower()}{text[1:]}", hint=hint)


def _arrays(served: Served, inputs: Sequence[_Input], binary: memoryview) -> dict[str, Array]:
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


def _binary_size(one: _Input, path: str) -> int | None:
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


def _raw(served: Served, body: bytes) -> Job:
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
    return _job(served, arrays, all_outputs(served, binary=True), "")


def _wanted(served: Served, body: _Body) -> Sequence[WantedOutput]:
    binary = _flag(body.parameters, "binary_data_output", "$.parameters")
    if not body.outputs:
        return all_outputs(served, binary=bool(binary))
    check_outputs(served, [one.name for one in body.outputs])
    known = {tensor.name: tensor for tensor in served.signature.outputs}
    return [
        _wanted_one(known[one.name], one.parameters, f"$.outputs[{at}].parameters", binary=bool(binary))
        for at, one in enumerate(body.outputs)
    ]


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


def _job(served: Served, inputs: dict[str, Array], wanted: Sequence[WantedOutput], id: str) -> Job:
    head: dict[str, Any] = {"model_name": served.name, "model_version": str(served.version)}
    if id:
        head["id"] = id

    def encode(outputs: dict[str, Array]) -> Response:
        return _encode(head, wanted, [one.of(served, outputs) for one in wanted])

    return Job(served, inputs, compute(served, wanted), encode, rows_in(served, inputs))


def _encode(head: dict[str, Any], wanted: Sequence[WantedOutput], arrays: Sequence[Array]) -> Response:
    shown, behind = [], []
    for one, array in zip(wanted, arrays, strict=True):
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
