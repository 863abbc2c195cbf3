"""Quick reading of rows of JSON: text to arrays in one typed pass, where the signature allows it.

The typed pass takes exactly what `Signature.cast_rows` takes, or less; what it refuses goes through
`cast_rows`, which has the last word and the words for it. So this file knows no error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import numpy as np

from lading.server.codecs.simd import LEAST_BYTES, matrix_reader
from lading.signature import BATCH, Array, DType, Signature, Tensor

ReadRows = Callable[[bytes], "tuple[dict[str, Array], int, Any]"]
"""From a body ``{"data": rows, "outputs"?: names}`` to inputs, the number of rows, and what stood beside."""

OUTPUTS: tuple[str, Any, Any] = ("outputs", tuple[str, ...] | None, None)
"""What may stand beside the rows of a native body: name, type, default."""


def quick_reader(
    signature: Signature, *, rows: str = "data", beside: tuple[str, Any, Any] = OUTPUTS
) -> ReadRows | None:
    """Make the typed reader of bodies with rows as lists; None where rows have no typed form.

    `rows` is the key of the rows, `beside` the one other key that a body may have.

    What it makes raises `protocols.UNREADABLE` on everything that it leaves to the slow way.
    """
    if len(signature.inputs) != 1 or not signature.inputs[0].batched:
        return None
    tensor = signature.inputs[0]
    if tensor.dtype == "string" or tensor.allows_nan:
        return None
    kind: Any = msgspec.defstruct(
        "Body",
        [("rows", tensor_type(tensor)), ("beside", beside[1], beside[2])],
        rename={"rows": rows, "beside": beside[0]},
        forbid_unknown_fields=True,
        gc=False,
    )
    decode = msgspec.json.Decoder(kind).decode
    name, dtype = tensor.name, tensor.numpy_dtype
    array = np.array
    matrix, columns = matrix_reader(tensor), tensor.shape[-1]

    def read(text: bytes) -> tuple[dict[str, Array], int, Any]:
        if matrix is not None and len(text) >= LEAST_BYTES:
            assert isinstance(columns, int)
            whole = matrix.matrix(text, rows, columns)
            if whole is not None:
                return {name: whole}, len(whole), beside[2]
        body = decode(text)
        lists = body.rows
        return {name: array(lists, dtype)}, len(lists), body.beside

    return read


def tensor_type(tensor: Tensor) -> Any:
    """Return the type of a whole tensor as nested lists, with every size and range of the signature."""
    kind: Any = value_type(tensor.dtype)
    for size in reversed(tensor.shape):
        if isinstance(size, int):
            meta = msgspec.Meta(min_length=size, max_length=size)
        else:
            meta = msgspec.Meta(min_length=1 if size == BATCH else 0)
        kind = Annotated[list[kind], meta]
    return kind


def value_type(dtype: DType) -> Any:
    """Return the type of one value with its range, so that what decodes needs no second look."""
    if dtype in ("bool", "string"):
        return bool if dtype == "bool" else str
    if dtype.startswith("float"):
        most = float(np.finfo(dtype).max)
        return Annotated[float, msgspec.Meta(ge=-most, le=most)]
    info = np.iinfo(dtype)
    # msgspec bounds integers by int64; wider ones are left to the slow way.
    return Annotated[int, msgspec.Meta(ge=max(int(info.min), -(2**63)), le=min(int(info.max), 2**63 - 1))]
