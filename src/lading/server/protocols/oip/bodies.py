"""JSON bodies of requests, and a typed one-pass reader for the form that most clients send.

That form, the plain one, is one batched tensor of numbers whose row shape is fixed. Whatever its reader does
not take is read by `infer`, which takes every form and words every error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import prod
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
import simdjson

from lading.server.codecs.rows import tensor_type, value_type
from lading.server.codecs.simd import LEAST_BYTES, number_reader
from lading.server.protocols import DECODE_ERRORS
from lading.server.protocols.oip.parameters import NUMPY
from lading.server.protocols.oip.tensors import DATATYPES
from lading.signature import Array, Signature, Tensor

_DATA = b'"data"'
_NESTED = re.compile(rb'"data"\s*:\s*\[\s*\[')
_INPUT_KEYS = ("name", "shape", "datatype", "data", "parameters")
_OPTION_KEYS = ("id", "outputs", "parameters")
# A million bytes of names took the event loop 16 ms.
_LONGEST_OPTION = 16 * 1024


class Input(msgspec.Struct, forbid_unknown_fields=True):
    """One input; ``data`` is absent if the tensor's bytes follow the JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: Any = None
    parameters: dict[str, Any] | None = None


class RawInput(Input):
    """One input whose values are still JSON text."""

    data: msgspec.Raw = None  # type: ignore[assignment]


class Output(msgspec.Struct, forbid_unknown_fields=True):
    """One output that the request selects."""

    name: str
    parameters: dict[str, Any] | None = None


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """The keys beside the inputs that a plain body may have."""

    outputs: list[Output] | None = None
    id: str | None = ""
    parameters: dict[str, Any] | None = None


class Body(Options, kw_only=True):
    """A whole body; clients that write every field name the model in it once more."""

    inputs: list[Input]
    model_name: str | None = None
    model_version: str | None = None


class RawBody(Body, kw_only=True):
    """A whole body whose values are still JSON text."""

    inputs: list[RawInput]  # type: ignore[assignment]


class PlainBody(NamedTuple):
    """A plain body: the array, its number of rows, and its options; None if it has none but an id."""

    array: Array
    rows: int
    id: str | None
    options: Options | None


ReadPlain = Callable[[bytes], "PlainBody | None"]


def plain_reader(signature: Signature) -> ReadPlain | None:
    """Return the reader of plain bodies, or None if no body of this model is plain.

    The reader returns None for a body in another form.
    """
    if len(signature.inputs) != 1:
        return None
    tensor = signature.inputs[0]
    if not tensor.batched or not signature.fixed_rows or 0 in tensor.shape or tensor.dtype == "string":
        return None
    read_flat, read_nested = (
        msgspec.json.Decoder(_plain_type(tensor, nested=nested)).decode for nested in (False, True)
    )
    width, dtype = prod(size for size in tensor.shape[1:] if isinstance(size, int)), tensor.numpy_dtype
    large = _LargeReader(tensor) if tensor.dtype in ("float32", "float64") else None
    array_of = np.array  # A local name: this is the hot path.

    def read(text: bytes) -> PlainBody | None:
        if large is not None and len(text) >= LEAST_BYTES:
            return large.read(text)
        nested = _NESTED.match(text, text.find(_DATA))
        try:
            body = (read_nested if nested else read_flat)(text)
        except DECODE_ERRORS:  # Another form, or not even JSON.
            return None
        tensor_in = body.inputs[0]
        data, shape = tensor_in.data, tensor_in.shape
        if len(data) != (shape[0] if nested else shape[0] * width) or not _is_plain(tensor_in.parameters):
            return None
        array = array_of(data, dtype)
        options = body if body.outputs or body.parameters else None
        return PlainBody(array if nested else array.reshape(shape), shape[0], body.id, options)

    return read


def _plain_type(tensor: Tensor, *, nested: bool) -> Any:
    """Return the type of a plain body: name, datatype and row shape are literals of the signature."""
    # Used as values: mypy cannot subscript types with what is known only here.
    exactly: Any = Literal
    items: Any = tuple
    rows = Annotated[int, msgspec.Meta(ge=1)]
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
        ("name", exactly[tensor.name]),
        ("shape", items[(rows, *(exactly[size] for size in tensor.shape[1:]))]),
        ("datatype", exactly[DATATYPES[tensor.dtype]]),
        ("data", tensor_type(tensor) if nested else list[value_type(tensor.dtype, tensor.bound)]),  # type: ignore[misc]
        ("parameters", dict[str, Any] | None, None),
    ]
    tensor_in = msgspec.defstruct("PlainInput", fields, gc=False, forbid_unknown_fields=True)
    keys = [("inputs", items[tensor_in]), ("model_name", None, None), ("model_version", None, None)]
    return msgspec.defstruct("PlainBody", keys, bases=(Options,), kw_only=True)  # type: ignore[arg-type]


def _is_plain(parameters: dict[str, Any] | None) -> bool:
    """Return whether the parameters of an input change nothing: its values are in ``data``, as they are."""
    return not parameters or parameters == NUMPY


class _LargeReader:
    """Reads a plain body of many floats with simdjson, in one pass over its text."""

    def __init__(self, tensor: Tensor) -> None:
        self._name, self._datatype = tensor.name, DATATYPES[tensor.dtype]
        self._row_shape = tensor.shape[1:]
        self._numbers = number_reader(tensor.dtype, tensor.bound)

    def read(self, text: bytes) -> PlainBody | None:
        """Return a plain body, or None for any other."""
        if len(self._row_shape) > 1 and _NESTED.match(text, text.find(_DATA)):
            return None  # simdjson flattens: below rows it cannot prove that all lists have one length.
        parsed: list[Options] = []

        def locate(document: Any) -> tuple[Any, tuple[int, ...], int]:
            (tensor_in,) = document["inputs"]
            if not _has_only(tensor_in, _INPUT_KEYS) or not _has_only(document, ("inputs", *_OPTION_KEYS)):
                raise ValueError
            shape = tuple(tensor_in["shape"])
            if tensor_in["name"] != self._name or tensor_in["datatype"] != self._datatype:
                raise ValueError
            if not self._fits(shape):
                raise ValueError
            if "parameters" in tensor_in and not _is_plain(_to_python(tensor_in["parameters"])):
                raise ValueError
            values = {key: _to_python(document[key]) for key in _OPTION_KEYS if key in document}
            parsed.append(msgspec.convert(values, Options))
            # Lists beside the values: those of inputs and of sizes, and of outputs if any are selected.
            return tensor_in["data"], shape, 2 + isinstance(values.get("outputs"), list)

        array = self._numbers.read(text, locate)
        if array is None:
            return None
        options = parsed[0]
        return PlainBody(
            array, len(array), options.id, options if options.outputs or options.parameters else None
        )

    def _fits(self, shape: tuple[Any, ...]) -> bool:
        return shape[1:] == self._row_shape and all(type(size) is int for size in shape) and shape[0] > 0


def _has_only(members: Any, keys: tuple[str, ...]) -> bool:
    """Return whether an object of simdjson has no keys but these, and none twice."""
    return len(members) == sum(key in members for key in keys)


def _to_python(value: Any) -> Any:
    """Return a value of simdjson as plain Python; raises `ValueError` for one that takes long to make."""
    if not isinstance(value, simdjson.Object | simdjson.Array):
        return value
    if len(value.mini) > _LONGEST_OPTION:
        raise ValueError
    return value.as_dict() if isinstance(value, simdjson.Object) else value.as_list()
