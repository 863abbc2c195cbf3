"""The forms in which samples can enter a converted model, and the nodes between the two.

The signature shows what a caller sends; a converter may see other columns or dtypes. Nodes at the front of
the graph make up the difference, all of them exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lading.convert import graph
from lading.convert.table import Table
from lading.signature import BATCH, Array, DType, Tensor


@dataclass(frozen=True)
class Fed:
    """One value that a converter sees: its name, its dtype, and the sizes after the rows (none for texts)."""

    name: str
    dtype: DType
    width: tuple[int, ...]


@dataclass(frozen=True)
class Form:
    """The signature's inputs, and what the converter sees of them."""

    title: str
    inputs: tuple[Tensor, ...]
    fed: tuple[Fed, ...]


def forms(table: Table, dtypes: tuple[str, ...]) -> Iterator[tuple[str, Form]]:
    """Return the (dtype, form) pairs to try, best first."""
    builders = [_whole]
    if table.kind == "frame":
        builders = [_whole, _by_name] if _is_of_one_kind(table) else []
        builders.append(_mixed)
    if any(table.whole_categories(name) for name in table.arrays):
        builders = [_by_category, *builders]
    for builder in builders:
        # Texts alone need no second float dtype.
        floats = dtypes if _has_numbers(table) else dtypes[:1]
        for dtype in floats:
            yield dtype, builder(table, _float(dtype))
    if any(array.dtype.kind in "iub" for array in table.arrays.values()):
        # Categories that are numbers are looked up as integers: no converter finds them among floats.
        for dtype in dtypes:
            yield dtype, _whole_numbers(table, _float(dtype))


def attach(model: Any, form: Form, names: dict[str, str]) -> None:
    """Declare the signature's inputs and feed the converter's from them.

    `names` has the value in the graph of each fed name.
    """
    onnx = graph.import_onnx()
    by_name = len(form.inputs) == 1 and len(form.fed) > 1
    nodes: list[Any] = []
    for at, fed in enumerate(form.fed):
        tensor = form.inputs[0] if by_name else form.inputs[at]
        source = tensor.name
        if by_name:
            index = graph.constant(model, np.array([at], dtype=np.int64))
            column = f"{names[fed.name]}/column"
            nodes.append(onnx.helper.make_node("Gather", [source, index], [column], axis=1))  # [batch, 1]
            source = column
        cast = {"to": graph.elem_type_of(fed.dtype)}
        op = ("Identity", {}) if tensor.dtype == fed.dtype else ("Cast", cast)
        nodes.append(onnx.helper.make_node(op[0], [source], [names[fed.name]], **op[1]))
    # ONNX wants nodes in an order in which each value is made before it is used.
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    graph.declare(model, "input", form.inputs)


def _whole(table: Table, dtype: DType) -> Form:
    """Everything in one tensor ``X``; its columns have names if the table's have."""
    first = next(iter(table.arrays.values()))
    kind = _kind(first, dtype)
    if table.kind == "frame":
        kind = dtype if table.numeric else kind
        tensor = _tensor("X", kind, (len(table.arrays),), nan=table.has_nan(), columns=tuple(table.arrays))
    else:
        tensor = _tensor("X", kind, first.shape[1:], nan=table.has_nan())
    seen: DType = dtype if kind == "bool" else kind
    return Form("one input `X`", (tensor,), (Fed("X", seen, tuple(int(size) for size in tensor.shape[1:])),))


def _by_name(table: Table, dtype: DType) -> Form:
    """One tensor ``X`` for the caller, one column each for a converter that looks columns up by name."""
    form = _whole(table, dtype)
    fed = tuple(Fed(name, form.fed[0].dtype, (1,)) for name in table.arrays)
    return Form("one input `X`, taken apart by column name", form.inputs, fed)


def _mixed(table: Table, dtype: DType) -> Form:
    """One ``[batch, 1]`` input per column; every number is a float."""
    kinds = {name: _kind(array, dtype) for name, array in table.arrays.items()}
    return _columns(table, kinds, {name: dtype if kind == "bool" else kind for name, kind in kinds.items()})


def _by_category(table: Table, dtype: DType) -> Form:
    """Integers that are categories reach the converter as int64, as it was fitted; others are floats."""
    kinds: dict[str, DType] = {
        name: "int64" if table.whole_categories(name) else _kind(array, dtype)
        for name, array in table.arrays.items()
    }
    if table.kind != "frame":
        return _whole_numbers(table, dtype)
    return _columns(table, kinds, {name: dtype if kind == "bool" else kind for name, kind in kinds.items()})


def _whole_numbers(table: Table, dtype: DType) -> Form:
    """Whole numbers and booleans reach the converter as int64; the caller sends integers."""
    kinds: dict[str, DType] = {
        name: "int64" if array.dtype.kind in "iu" else _kind(array, dtype)
        for name, array in table.arrays.items()
    }
    seen: dict[str, DType] = {name: "int64" if kind == "bool" else kind for name, kind in kinds.items()}
    if table.kind == "frame":
        return _columns(table, kinds, seen)
    first = table.arrays["X"]
    tensor = _tensor("X", kinds["X"], first.shape[1:], nan=False)  # integers have no NaN
    return Form("one input `X` of integers", (tensor,), (Fed("X", seen["X"], first.shape[1:]),))


def _columns(table: Table, kinds: dict[str, DType], seen: dict[str, DType]) -> Form:
    tensors = tuple(_tensor(name, kind, (1,), nan=table.has_nan(name)) for name, kind in kinds.items())
    return Form("one input per column", tensors, tuple(Fed(name, kind, (1,)) for name, kind in seen.items()))


def _tensor(
    name: str, dtype: DType, rest: tuple[int, ...], *, nan: bool, columns: tuple[str, ...] = ()
) -> Tensor:
    allows_nan = nan and dtype.startswith("float")
    return Tensor(name=name, dtype=dtype, shape=(BATCH, *rest), columns=columns, allows_nan=allows_nan)


def _kind(array: Array, dtype: DType) -> DType:
    if array.dtype.kind == "O":
        return "string"
    return "bool" if array.dtype.kind == "b" else dtype


def _is_of_one_kind(table: Table) -> bool:
    kinds = {_kind(array, "float32") for array in table.arrays.values()}
    return len(kinds) == 1


def _has_numbers(table: Table) -> bool:
    return any(array.dtype.kind in "biuf" for array in table.arrays.values())


def _float(dtype: str) -> DType:
    return "float64" if dtype == "float64" else "float32"
