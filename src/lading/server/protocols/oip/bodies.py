"""Bodies of requests as JSON has them, and the one form that most clients send in one typed pass.

That form is one batched tensor of numbers, whose sizes but for the batch are fixed. What its reader does not
take goes the general way (`infer`), which has the last word and the words for it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np

from lading.server.protocols.matrix import LEAST_BYTES, NumberReader
from lading.server.protocols.oip.jsontext import value_type
from lading.server.protocols.oip.tensors import DATATYPES
from lading.signature import Array, Signature, Tensor


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
    """What a plain body holds: the array, its rows, and what is asked; None where nothing is but an `id`."""

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
    sizes = tensor.shape[1:]
    if not tensor.batched or tensor.dtype == "string" or any(isinstance(size, str) for size in sizes):
        return None
    decode = msgspec.json.Decoder(_plain_type(tensor)).decode
    width, dtype = prod(size for size in sizes if isinstance(size, int)), tensor.numpy_dtype
    many = _ManyReader(tensor) if tensor.dtype in ("float32", "float64") else None
    array_of = np.array

    def read(text: bytes) -> Plain | None:
        if many is not None and len(text) >= LEAST_BYTES:
            return many.read(text)
        try:
            body = decode(text)
        except ValueError:  # msgspec's errors are; another form, or not even JSON.
            return None
        one = body.inputs[0]
        data, shape = one.data, one.shape
        if len(data) != shape[0] * width:
            return None
        array = array_of(data, dtype).reshape(shape)
        asking = body if body.outputs or body.parameters else None
        return Plain(array, shape[0], body.id, asking)

    return read


def _plain_type(tensor: Tensor) -> Any:
    exactly: Any = Literal  # As values: the types are known only here.
    items: Any = tuple
    rows = Annotated[int, msgspec.Meta(ge=1, le=2**40)]
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
        ("name", exactly[tensor.name]),
        ("shape", items[(rows, *(exactly[size] for size in tensor.shape[1:]))]),
        ("datatype", exactly[DATATYPES[tensor.dtype]]),
        ("data", list[value_type(tensor.dtype)]),  # type: ignore[misc]
        ("parameters", None, None),
    ]
    one = msgspec.defstruct("PlainInput", fields, gc=False)
    return msgspec.defstruct("PlainBody", [("inputs", items[one])], bases=(Asking,), kw_only=True)


class _ManyReader:
    """Reads a body of many floats without looking at its text twice."""

    def __init__(self, tensor: Tensor) -> None:
        self._name, self._datatype = tensor.name, DATATYPES[tensor.dtype]
        self._sizes = tensor.shape[1:]
        self._numbers = NumberReader(tensor.numpy_dtype)

    def read(self, text: bytes) -> Plain | None:
        """Give what a plain body holds; None for any other."""
        found: list[str | None] = []

        def locate(document: Any) -> tuple[Any, tuple[int, ...], int]:
            (one,) = document["inputs"]
            named = "id" in document
            if len(document) != 1 + named or len(one) != 4:  # So no key is there twice.
                raise ValueError
            shape = tuple(one["shape"])
            if one["name"] != self._name or one["datatype"] != self._datatype or not self._fits(shape):
                raise ValueError
            found.append(document["id"] if named else "")
            return one["data"], shape, 2  # The lists of inputs and of sizes.

        array = self._numbers.read(text, locate)
        if array is None or not isinstance(found[0], str | None):
            return None
        return Plain(array, len(array), found[0], None)

    def _fits(self, shape: tuple[Any, ...]) -> bool:
        return shape[1:] == self._sizes and all(type(size) is int for size in shape) and shape[0] > 0
