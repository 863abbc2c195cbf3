"""Bodies of requests as JSON has them, and the one form that most clients send in one typed pass.

That form is one batched tensor of numbers, whose sizes but for the batch are fixed. What its reader does not
take goes the general way (`infer`), which has the last word and the words for it.
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
from lading.server.protocols import UNREADABLE
from lading.server.protocols.oip.tensors import DATATYPES
from lading.signature import Array, Signature, Tensor

_DATA = b'"data"'
_IN_ROWS = re.compile(rb'"data"\s*:\s*\[\s*\[')
_OF_INPUT = ("name", "shape", "datatype", "data", "parameters")
_BESIDE = ("id", "outputs", "parameters")
_PLACES = frozenset({"binary_data_size", "shared_memory_region"})
"""Parameters of an input whose values are not in ``data``."""


class Input(msgspec.Struct):
    """One input; ``data`` is absent where the tensor lies behind the JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: Any = None
    parameters: dict[str, Any] | None = None


class QuickInput(Input):
    """The same, whose values are still text."""

    data: msgspec.Raw = None  # type: ignore[assignment]


class Output(msgspec.Struct):
    """One output that is asked for."""

    name: str
    parameters: dict[str, Any] | None = None


class Asking(msgspec.Struct):
    """What may stand beside the inputs."""

    outputs: list[Output] | None = None
    id: str | None = ""
    parameters: dict[str, Any] | None = None


class Body(Asking, kw_only=True):
    """A whole body."""

    inputs: list[Input]


class QuickBody(Body, kw_only=True):
    """The same, whose values are still text."""

    inputs: list[QuickInput]  # type: ignore[assignment]


class Plain(NamedTuple):
    """What a plain body holds: the array, its rows, and what it asks for; None where that is nothing more."""

    array: Array
    rows: int
    id: str | None
    asking: Asking | None


ReadPlain = Callable[[bytes], "Plain | None"]


def plain_reader(signature: Signature) -> ReadPlain | None:
    """Make the reader of plain bodies, which gives None for any other; None where the model takes none."""
    if len(signature.inputs) != 1:
        return None
    tensor = signature.inputs[0]
    if not tensor.batched or not signature.fixed_rows or 0 in tensor.shape or tensor.dtype == "string":
        return None
    flat, nested = (msgspec.json.Decoder(_plain_type(tensor, nested=way)).decode for way in (False, True))
    width, dtype = prod(size for size in tensor.shape[1:] if isinstance(size, int)), tensor.numpy_dtype
    many = _ManyReader(tensor) if tensor.dtype in ("float32", "float64") else None
    array_of = np.array

    def read(text: bytes) -> Plain | None:
        if many is not None and len(text) >= LEAST_BYTES:
            return many.read(text)
        in_rows = _IN_ROWS.match(text, text.find(_DATA))
        try:
            body = (nested if in_rows else flat)(text)
        except UNREADABLE:  # Another form, or not even JSON.
            return None
        one = body.inputs[0]
        data, shape = one.data, one.shape
        if len(data) != (shape[0] if in_rows else shape[0] * width) or _says_more(one.parameters):
            return None
        array = array_of(data, dtype)
        asking = body if body.outputs or body.parameters else None
        return Plain(array if in_rows else array.reshape(shape), shape[0], body.id, asking)

    return read


def _plain_type(tensor: Tensor, *, nested: bool) -> Any:
    exactly: Any = Literal  # As values: the types are known only here.
    items: Any = tuple
    rows = Annotated[int, msgspec.Meta(ge=1)]
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
        ("name", exactly[tensor.name]),
        ("shape", items[(rows, *(exactly[size] for size in tensor.shape[1:]))]),
        ("datatype", exactly[DATATYPES[tensor.dtype]]),
        ("data", tensor_type(tensor) if nested else list[value_type(tensor.dtype)]),  # type: ignore[misc]
        ("parameters", dict[str, Any] | None, None),
    ]
    one = msgspec.defstruct("PlainInput", fields, gc=False)
    return msgspec.defstruct("PlainBody", [("inputs", items[one])], bases=(Asking,), kw_only=True)


def _says_more(parameters: dict[str, Any] | None) -> bool:
    """Return whether parameters of an input say where its values are; others are of no account."""
    return parameters is not None and not _PLACES.isdisjoint(parameters)


class _ManyReader:
    """Reads a body of many floats without looking at its text twice."""

    def __init__(self, tensor: Tensor) -> None:
        self._name, self._datatype = tensor.name, DATATYPES[tensor.dtype]
        self._sizes = tensor.shape[1:]
        self._numbers = number_reader(tensor.dtype)

    def read(self, text: bytes) -> Plain | None:
        """Return what a plain body holds; None for any other."""
        if len(self._sizes) > 1 and _IN_ROWS.match(text, text.find(_DATA)):
            return None  # Deeper than rows: nothing shows that all of them have the same length.
        asked: list[Asking] = []

        def locate(document: Any) -> tuple[Any, tuple[int, ...], int]:
            (one,) = document["inputs"]
            if not _has_only(one, _OF_INPUT) or not _has_only(document, ("inputs", *_BESIDE)):
                raise ValueError
            shape = tuple(one["shape"])
            if one["name"] != self._name or one["datatype"] != self._datatype or not self._fits(shape):
                raise ValueError
            if "parameters" in one and _says_more(_plain(one["parameters"])):
                raise ValueError
            beside = {key: _plain(document[key]) for key in _BESIDE if key in document}
            asked.append(msgspec.convert(beside, Asking))
            # The lists of inputs and of sizes, and of outputs where some are asked for.
            return one["data"], shape, 2 + isinstance(beside.get("outputs"), list)

        array = self._numbers.read(text, locate)
        if array is None:
            return None
        asking = asked[0]
        return Plain(array, len(array), asking.id, asking if asking.outputs or asking.parameters else None)

    def _fits(self, shape: tuple[Any, ...]) -> bool:
        return shape[1:] == self._sizes and all(type(size) is int for size in shape) and shape[0] > 0


def _has_only(found: Any, keys: tuple[str, ...]) -> bool:
    """Return whether an object of simdjson has no other keys than these, and none twice."""
    return len(found) == sum(key in found for key in keys)


def _plain(value: Any) -> Any:
    """Return what simdjson has parsed as values of Python."""
    if isinstance(value, simdjson.Object):
        return value.as_dict()
    return value.as_list() if isinstance(value, simdjson.Array) else value
