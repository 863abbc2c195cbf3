"""``POST …/infer``: JSON, tensors as bytes behind it, both mixed, or nothing but one tensor's bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from lading.errors import BodyInvalid, InputUnknown, ShapeRefused
from lading.server.codecs import nan_json
from lading.server.http.messages import Request, Response
from lading.server.inference.dataplane import check_outputs, rows_in
from lading.server.inference.job import Job
from lading.server.inference.version import ServedVersion
from lading.server.protocols import DECODE_ERRORS, decode_error_text
from lading.server.protocols.oip import json_text, tensors
from lading.server.protocols.oip.bodies import Body, Input, Options, RawBody, plain_reader
from lading.server.protocols.oip.parameters import check_output, check_request, decode_base64, reads_base64
from lading.server.protocols.oip.selection import FORMS, SelectedOutput, Selection, select_outputs
from lading.signature import Array, Tensor

LENGTH = b"inference-header-content-length"
"""The header with the length of the JSON; the bytes of tensors follow it."""

BINARY = b"application/octet-stream"

# The longest JSON that is remembered, and how many: a client sends the same before each of its tensors.
_LONGEST_REMEMBERED, _MOST_REMEMBERED = 1024, 256


@dataclass(frozen=True, slots=True)
class _Layout:
    """A parsed JSON before binary tensors: where each input is in the bytes, and the selected outputs."""

    inputs: tuple[tuple[Tensor, list[int], slice], ...]
    size: int
    selection: Selection

    @classmethod
    def of(cls, served: ServedVersion, inputs: Sequence[Input], selection: Selection) -> _Layout:
        """Return the layout of `inputs` that have been checked, each of them as bytes."""
        places, start = [], 0
        for tensor_in in inputs:
            size = _binary_size(tensor_in, "") or 0
            place = slice(start, start + size)
            places.append((served.signature.input(tensor_in.name), tensor_in.shape, place))
            start += size
        return cls(tuple(places), start, selection)

    def arrays(self, binary: memoryview) -> dict[str, Array]:
        """Return other bytes as the same inputs."""
        return {
            tensor.name: tensors.from_bytes(tensor, shape, binary[place])
            for tensor, shape, place in self.inputs
        }


Write = Callable[[Any], bytes]
"""Writes the JSON of an answer."""

_decoder = msgspec.json.Decoder(RawBody)
_HINT = 'send `{"inputs": [{"name", "shape", "datatype", "data"}]}`'
_NULL = msgspec.Raw(b"null")


class _Plan:
    """What is prepared once per version: the reader of plain bodies and the writer of their answers."""

    __slots__ = ("_head", "_input", "_read", "_selection", "_served", "_write")

    def __init__(self, served: ServedVersion, write: Write) -> None:
        self._served, self._write = served, write
        self._read = plain_reader(served.signature)
        self._input = served.signature.inputs[0].name
        self._selection = select_outputs(served, (), binary=False)
        self._head = _head(served, "")

    def job(self, body: bytes) -> Job | None:
        """Read a plain body; None if it has another form."""
        plain = self._read(body) if self._read is not None else None
        if plain is None:
            return None
        inputs = {self._input: plain.array}
        if plain.options is not None or plain.id:
            selection = self._selection
            if plain.options is not None:
                selection = _select(self._served, plain.options)
            return _job(self._served, inputs, selection, plain.id, self._write)
        # No closure per request: the answer to a plain body depends on nothing in it.
        return Job(self._served, inputs, self._selection.compute, self._encode, plain.rows)

    def _encode(self, outputs: dict[str, Array]) -> Response:
        return _encode(self._served, self._head, self._selection, outputs, self._write)


def _plan(served: ServedVersion, write: Write) -> _Plan:
    model = served.loaded
    assert model is not None  # `resolve` returns no version that is not loaded.
    plan: _Plan | None = model.plans.get(write)
    if plan is None:
        plan = model.plans[write] = _Plan(served, write)
    return plan


def infer(request: Request, served: ServedVersion, write: Write) -> Job:
    """Read the body of `request` for the version `served`, whose answer `write` writes."""
    # Without the header the whole body is JSON, and mostly a plain one.
    if LENGTH not in request.headers:
        job = _plan(served, write).job(request.body)
        if job is not None:
            return job
    size = _json_size(request)
    # Only the header declares a raw body: one that is merely empty is a mistake.
    if size == 0 and LENGTH in request.headers:
        return _raw_job(served, request.body, write)
    if not request.body:
        raise BodyInvalid("body", expected="JSON", found="nothing", hint=_HINT)
    request.leave_loop()
    view = memoryview(request.body)  # Slices of it are not copied.
    binary = view[size:]
    text = bytes(view[:size]) if binary and size <= _LONGEST_REMEMBERED else b""
    layouts: dict[bytes, _Layout] = served.model.plans.setdefault(_Layout, {})
    layout = layouts.get(text)
    if layout is not None and layout.size == len(binary):
        return _job(served, served.signature.cast(layout.arrays(binary)), layout.selection, "", write)
    body = _parse(view[:size])
    _check_model(served, body)
    inputs = served.signature.cast(_arrays(served, body.inputs, binary))
    selection = _select(served, body)
    # An id makes each JSON another one; values in the JSON, or in base64, are not part of a layout.
    if text and not body.id and all(map(_is_laid_out, body.inputs)):
        if len(layouts) >= _MOST_REMEMBERED:  # Clients choose how many forms there are.
            layouts.clear()
        layouts[text] = _Layout.of(served, body.inputs, selection)
    return _job(served, inputs, selection, body.id, write)


def _check_model(served: ServedVersion, body: Body) -> None:
    """Refuse a body that names another model or version than its path."""
    if body.model_name not in (None, "", served.name):
        raise BodyInvalid("`$.model_name`", expected=f"`{served.name}`", found=f"`{body.model_name}`")
    version = str(served.version)
    if body.model_version not in (None, "", version, *served.tags):
        raise BodyInvalid("`$.model_version`", expected=f"`{version}`", found=f"`{body.model_version}`")


def _is_laid_out(tensor_in: Input) -> bool:
    """Return whether the values of an input are its part of the bytes behind the JSON, as they are."""
    return tensor_in.data is None and (tensor_in.parameters or {}).get("content_type") != "base64"


def _json_size(request: Request) -> int:
    text = request.headers.get(LENGTH)
    if text is None:
        return len(request.body)
    # Python refuses to read thousands of digits, and no body has a length of 19.
    if not text.isdigit() or len(text) > 18 or int(text) > len(request.body):
        expected = f"a length of at most {len(request.body)}"
        raise BodyInvalid(f"`{LENGTH.decode()}`", expected=expected, found=f"`{text.decode('latin-1')}`")
    return int(text)


def _parse(text: memoryview) -> Body:
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise _unreadable(error) from None
    except DECODE_ERRORS as error:
        return _parse_with_nan(text, error)


def _parse_with_nan(text: memoryview, error: Exception) -> Body:
    """Parse again if bare NaN or infinities, which JSON does not have, may have caused the `error`."""
    content = bytes(text)
    if not nan_json.may_have_nan(content):
        raise _unreadable(error) from None
    try:
        return msgspec.convert(nan_json.loads(content), Body)
    except msgspec.ValidationError as other:
        raise _unreadable(other) from None
    except DECODE_ERRORS:
        # Broken in another way: the first error names the place better.
        raise _unreadable(error) from None


def _unreadable(error: Exception) -> BodyInvalid:
    return BodyInvalid(f"body: {decode_error_text(error)}", hint=_HINT)


def _arrays(served: ServedVersion, inputs: Sequence[Input], binary: memoryview) -> dict[str, Array]:
    """Read every input from its ``data`` or from its part of the bytes behind the JSON."""
    arrays: dict[str, Array] = {}
    start = 0
    for at, tensor_in in enumerate(inputs):
        path = f"$.inputs[{at}]"
        tensor = served.signature.input(tensor_in.name)
        if tensor_in.name in arrays:
            raise InputUnknown(f"`{path}`", expected="each input once", found=f"`{tensor_in.name}` again")
        tensors.check_declared(tensor, tensor_in.datatype, tensor_in.shape)
        declared = tensor_in.parameters or {}
        in_base64 = bool(declared) and reads_base64(tensor, declared, ("binary_data_size",), path)
        size = _binary_size(tensor_in, path)
        if size is None:
            array = _from_json(tensor, tensor_in, path)
        elif start + size > len(binary):
            rest = f"{len(binary) - start} bytes behind the JSON"
            raise ShapeRefused(f"input `{tensor_in.name}`", expected=f"{size} bytes", found=rest)
        else:
            array = tensors.from_bytes(tensor, tensor_in.shape, binary[start : start + size])
            start += size
        arrays[tensor_in.name] = decode_base64(tensor, array) if in_base64 else array
    if start != len(binary):
        raise BodyInvalid("body", expected=f"{start} bytes behind the JSON", found=f"{len(binary)}")
    return arrays


def _from_json(tensor: Tensor, tensor_in: Input, path: str) -> Array:
    if tensor_in.data is None:
        raise BodyInvalid(f"`{path}`", expected="`data`, or `binary_data_size`", found="neither")
    return json_text.read_data(tensor, tensor_in.shape, tensor_in.data, f"{path}.data")


def _binary_size(tensor_in: Input, path: str) -> int | None:
    """Return how many bytes behind the JSON are this input's, or None if its values are in the JSON."""
    size = (tensor_in.parameters or {}).get("binary_data_size")
    if size is None:
        return None
    if tensor_in.data not in (None, _NULL):
        raise BodyInvalid(f"`{path}`", expected="`data` or `binary_data_size`", found="both")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        where = f"`{path}.parameters.binary_data_size`"
        raise BodyInvalid(where, expected="a number of bytes", found=f"`{size}`")
    return size


def _raw_job(served: ServedVersion, body: bytes, write: Write) -> Job:
    """Read a body that is one tensor and nothing else; every output is answered as bytes."""
    inputs = served.signature.inputs
    # Nothing in the body states which input it is.
    if len(inputs) != 1:
        expected = f"JSON, because `{served.label}` has {len(inputs)} inputs"
        raise BodyInvalid("raw body", expected=expected, found="no JSON")
    tensor = inputs[0]
    shape = tensors.raw_shape(tensor, len(body))
    if tensor.dtype == "string":
        body = len(body).to_bytes(4, "little") + body  # As `from_bytes` expects strings: behind their length.
    arrays = served.signature.cast({tensor.name: tensors.from_bytes(tensor, shape, body)})
    return _job(served, arrays, select_outputs(served, (), binary=True), "", write)


def _select(served: ServedVersion, options: Options) -> Selection:
    """Return the outputs that a request selects; all of them if it selects none."""
    if options.parameters:
        check_request(options.parameters, ("binary_data_output",))
    binary = _flag(options.parameters, "binary_data_output", "$.parameters")
    if not options.outputs:
        return select_outputs(served, (), binary=bool(binary))
    check_outputs(served, [output.name for output in options.outputs], forms=FORMS)
    known = {tensor.name: tensor for tensor in served.signature.outputs}
    return Selection.of(
        served,
        (
            _select_one(
                known[output.name], output.parameters, f"$.outputs[{at}].parameters", binary=bool(binary)
            )
            for at, output in enumerate(options.outputs)
        ),
    )


def _select_one(
    tensor: Tensor, parameters: Mapping[str, Any] | None, path: str, *, binary: bool
) -> SelectedOutput:
    if parameters:
        check_output(tensor, parameters, ("binary_data", "classification"), path)
    own = _flag(parameters, "binary_data", path)
    classes = (parameters or {}).get("classification", 0)
    return SelectedOutput.parse(tensor, classes, path, binary=binary if own is None else own)


def _flag(parameters: Mapping[str, Any] | None, name: str, path: str) -> bool | None:
    value = parameters.get(name) if parameters else None
    if value is not None and not isinstance(value, bool):
        raise BodyInvalid(f"`{path}.{name}`", expected="true or false", found=f"`{value}`")
    return value


def _job(
    served: ServedVersion, inputs: dict[str, Array], selection: Selection, id: str | None, write: Write
) -> Job:
    head = _head(served, id)

    def encode(outputs: dict[str, Array]) -> Response:
        return _encode(served, head, selection, outputs, write)

    return Job(served, inputs, selection.compute, encode, rows_in(served, inputs))


def _head(served: ServedVersion, id: str | None) -> dict[str, Any]:
    # The protocol has versions as strings.
    head = {"model_name": served.name, "model_version": str(served.version)}
    return {**head, "id": id} if id else head


def _encode(
    served: ServedVersion,
    head: dict[str, Any],
    selection: Selection,
    outputs: Mapping[str, Array],
    write: Write,
) -> Response:
    described, binary = [], []
    for output in selection.outputs:
        array = output.array(served, outputs)
        tensor: dict[str, Any] = {
            "name": output.tensor.name,
            "datatype": output.datatype,
            "shape": array.shape,
        }
        if output.binary:
            data = tensors.to_bytes(array)
            tensor["parameters"] = {"binary_data_size": len(data)}
            binary.append(data)
        else:
            tensor["data"] = json_text.flat(array)
        described.append(tensor)
    text = write({**head, "outputs": described})
    if not binary:
        return Response(text)
    headers = ((LENGTH, b"%d" % len(text)),)
    return Response(b"".join((text, *binary)), content_type=BINARY, headers=headers)
