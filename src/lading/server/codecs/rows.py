"""Quick reading of JSON rows: text to arrays in one typed pass, if the signature allows it.

The typed pass accepts what `Signature.cast_rows` accepts, or less. A body that it rejects goes through
`cast_rows`, which decides and words the error, so this module has no errors of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import numpy as np

from lading.server.codecs.simd import LEAST_BYTES, matrix_reader
from lading.signature import BATCH, Array, DType, Signature, Tensor

ReadRows = Callable[[bytes], "tuple[dict[str, Array], int, Any]"]
"""From a body ``{"data": rows, "outputs"?: names}`` to inputs, number of rows, and value of the other key.

Raises `ValueError` or `RecursionError` for every body that it leaves to the general way.
"""

OUTPUTS: tuple[str, Any, Any] = ("outputs", tuple[str, ...] | None, None)
"""The key that a native body may have beside its rows: name, type, default."""


def quick_reader(
    signature: Signature, *, rows: str = "data", beside: tuple[str, Any, Any] = OUTPUTS
) -> ReadRows | None:
    """Return the typed reader of bodies with rows as lists, or None if the signature has no typed form.

    `rows` is the key of the rows, `beside` the one other key that a body may have.
    """
    if len(signature.inputs) != 1 or not signature.inputs[0].batched:
        return None
    tensor = signature.inputs[0]
    if tensor.dtype == "string" or tensor.allows_nan:
        return None  # Strings are searched for NUL and surrogates; `null` is no number in a typed pass.
    if tensor.shared_sizes:
        return None  # A type cannot say that two sizes agree.
    kind: Any = msgspec.defstruct(
        "Body",
        [("rows", tensor_type(tensor)), ("beside", beside[1], beside[2])],
        rename={"rows": rows, "beside": beside[0]},
        forbid_unknown_fields=True,
        gc=False,
    )
    # Local names: `read` runs once per request.
    decode, array_of = msgspec.json.Decoder(kind).decode, np.array
    name, dtype = tensor.name, tensor.numpy_dtype
    reader, columns = matrix_reader(tensor), tensor.shape[-1]

    def read(text: bytes) -> tuple[dict[str, Array], int, Any]:
        if reader is not None and len(text) >= LEAST_BYTES:
            assert isinstance(columns, int)
            matrix = reader.matrix(text, rows, columns)  # [rows, columns]
            if matrix is not None:
                return {name: matrix}, len(matrix), beside[2]
        body = decode(text)
        lists = body.rows
        return {name: array_of(lists, dtype)}, len(lists), body.beside

    return read


def tensor_type(tensor: Tensor) -> Any:
    """Return the msgspec type of a whole tensor: nested lists with every size and range of the signature."""
    kind: Any = value_type(tensor.dtype, tensor.bound)
    for size in reversed(tensor.shape):
        if isinstance(size, int):
            meta = msgspec.Meta(min_length=size, max_length=size)
        else:
            meta = msgspec.Meta(min_length=1 if size == BATCH else 0)
        kind = Annotated[list[kind], meta]
    return kind


def value_type(dtype: DType, bound: float) -> Any:
    """Return the msgspec type of one value with its range, so that a decoded value needs no further check.

    `bound` is that of its tensor.
    """
    if dtype in ("bool", "string"):
        return bool if dtype == "bool" else str
    if dtype.startswith("float"):
        most = Tensor(name="", dtype=dtype, shape=(), bound=bound).largest
        return Annotated[float, msgspec.Meta(ge=-most, le=most)]
    info = np.iinfo(dtype)
    # msgspec bounds integers by int64; wider ones are left to the general way.
    return Annotated[int, msgspec.Meta(ge=max(int(info.min), -(2**63)), le=min(int(info.max), 2**63 - 1))]
