"""The outputs of a converted model, brought to the names and shapes of the framework's own.

Only moves, renames and exact casts: which numbers come out is the converter's matter, and whether they are
right is proved afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lading.convert import graph
from lading.errors import ConverterFailed
from lading.signature import Array, DType, Tensor


def shape_like(
    model: Any,
    title: str,
    pairs: Sequence[tuple[str, str]],
    found: Mapping[str, Array],
    expected: Mapping[str, Array],
    columns: Mapping[str, tuple[str, ...]],
) -> tuple[Tensor, ...]:
    """Replace the graph's outputs by (`expected` name, graph's name) `pairs` in the expected shapes.

    `found` is what the graph answered where the framework answered `expected`. Raises `ConverterFailed`.
    """
    tensors = []
    for name, own in pairs:
        have, want = found[own], expected[name]
        value = _reshaped(model, own, have, want)
        if value is None:
            raise ConverterFailed(
                f"output `{name}` of `{title}`",
                expected=f"shape {list(want.shape)} as the framework gives",
                found=f"shape {list(have.shape)} from the converted model",
            )
        dtype = _dtype(have, want)
        if dtype != graph.dtype_of_array(have):
            value = graph.append(model, "Cast", [value], to=graph.elem_type_of(dtype))
        last = graph.import_onnx().helper.make_node("Identity", [value], [final_name(name)])
        model.graph.node.append(last)
        shape = ("batch", *want.shape[1:])
        named = columns.get(name, ())
        fits = bool(named) and want.ndim > 1 and want.shape[-1] == len(named) == len(set(named))
        tensors.append(Tensor(name=name, dtype=dtype, shape=shape, columns=named if fits else ()))
    graph.declare(model, "output", [_renamed(tensor) for tensor in tensors])
    return tuple(tensors)


def final_name(name: str) -> str:
    """Return the value inside the graph that becomes the output `name`."""
    return f"output {name}"


def _renamed(tensor: Tensor) -> Tensor:
    return Tensor(name=final_name(tensor.name), dtype=tensor.dtype, shape=tensor.shape)


def _reshaped(model: Any, own: str, have: Array, want: Array) -> str | None:
    """Add what turns `have` into the shape of `want`; None where no exact move does."""
    rows, rest = want.shape[0], want.shape[1:]
    if have.shape == want.shape:
        return own
    if have.ndim == 3 and have.shape == (want.shape[1:2] + want.shape[:1] + want.shape[2:]):
        return graph.append(model, "Transpose", [own], perm=[1, 0, 2])  # [targets, batch, classes]
    if have.shape == (rows, 2) and want.size == rows:
        # scikit-learn gives one score for two classes, converters both signs of it.
        index = graph.constant(model, np.array([1], dtype=np.int64))
        own, have = graph.append(model, "Gather", [own, index], axis=1), have[:, 1:]
    if have.size == want.size:
        shape = graph.constant(model, np.array([-1, *rest], dtype=np.int64))
        return graph.append(model, "Reshape", [own, shape])
    return None


def _dtype(have: Array, want: Array) -> DType:
    """Choose the output's dtype: the graph's own, unless only another kind holds the framework's values."""
    if want.dtype.kind == "b":
        return "bool"
    own = graph.dtype_of_array(have)
    if want.dtype.kind == "f" and have.dtype.kind in "iub":
        return "float32"
    if want.dtype.kind in "iu" and have.dtype.kind in "fiu":
        return "int64"
    return own
