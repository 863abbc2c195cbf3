"""The inputs of an ONNX file as a signature names them: which of them have rows, and how sizes are called.

Runs nothing: whether the rows are independent is shown by `row_dependence`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lading.convert import graph
from lading.errors import InvalidSetting
from lading.signature import BATCH, DType, Tensor

BatchAxis = Mapping[str, "int | None"]
"""The axis of the rows by input name, None for an input without rows; other inputs are looked at."""

Declared = tuple[str, "DType | None", "tuple[int | str | None, ...] | None"]
"""Name, dtype and shape of an input or output as `graph.tensors_of` returns them."""

EVERY = ""
"""The key of a `BatchAxis` that stands for every input that it does not name."""

# What exporters write where they know no name; the same text on two axes does not make them equal.
# tf2onnx numbers what it does not know, `unk__330`.
_NO_NAME = re.compile(r"\?|None|-1|unk(nown)?|unk__\d+")


def parse_batch_axis(texts: Sequence[str]) -> BatchAxis:
    """Read ``none``, ``NAME=none`` and ``NAME=AXIS``; raises `InvalidSetting`."""
    axes: dict[str, int | None] = {}
    for text in texts:
        name, equals, axis = text.rpartition("=")
        if not (axis == "none" or axis.isdecimal()) or (equals and not name):
            raise InvalidSetting(
                "`batch_axis`", expected="`none`, `INPUT=none` or `INPUT=AXIS`", found=f"`{text}`"
            )
        axes[name or EVERY] = None if axis == "none" else int(axis)
    return axes


def declared_inputs(model: Any) -> list[Declared]:
    """Return the inputs that a caller gives."""
    # Up to IR version 3 initializers are declared among the inputs; later they are defaults of inputs.
    weights = {tensor.name for tensor in model.graph.initializer}
    return graph.tensors_of(value for value in model.graph.input if value.name not in weights)


def read_inputs(declared: Sequence[Declared], axes: BatchAxis, title: str) -> tuple[Tensor, ...]:
    """Name the sizes of every input. Dimension 0 is the batch where all inputs share it, or `axes` says so.

    Raises `InvalidSetting` for axes that the inputs do not have.
    """
    chosen = _chosen_axes(declared, axes, title)
    names = size_names(declared)
    # Rows along another axis link the sizes of inputs, but are no batch of a signature.
    is_batch = all(axis in (0, None) for axis in chosen.values())
    tensors = []
    for name, dtype, shape in declared:
        assert dtype is not None
        assert shape is not None
        sizes = list(names.shape_of(name, shape))
        axis = chosen.get(name)
        if axis is not None and not isinstance(shape[axis], int):
            sizes[axis] = BATCH if is_batch else names.rows
        tensors.append(Tensor(name=name, dtype=dtype, shape=tuple(sizes)))
    return tuple(tensors)


class SizeNames:
    """How the open sizes of a model are called where they are no batch.

    ``rows`` stands for the name `batch` where a signature cannot have a batch.
    """

    def __init__(self, taken: set[str]) -> None:
        """Choose a name for rows that is not among those `taken` by the model."""
        self.rows = next(name for name in ("rows", "row_count", "batch_rows") if name not in taken)

    def of(self, name: str, axis: int, size: int | str | None) -> int | str:
        """Return the size or name of one dimension of the tensor `name`."""
        if size is None or _is_no_name(size):
            return f"{name}_{axis}"
        return self.rows if size == BATCH else size

    def shape_of(self, name: str, shape: Sequence[int | str | None]) -> tuple[int | str, ...]:
        """Return the sizes and names of all dimensions."""
        return tuple(self.of(name, axis, size) for axis, size in enumerate(shape))


def size_names(declared: Sequence[Declared]) -> SizeNames:
    """Return the names for the sizes of these tensors."""
    return SizeNames({size for _, _, shape in declared for size in shape or () if isinstance(size, str)})


def _chosen_axes(declared: Sequence[Declared], axes: BatchAxis, title: str) -> dict[str, int | None]:
    """Return the axis of rows of each input: as asked, else 0 where the model looks as if it had a batch."""
    shapes = {name: shape or () for name, _, shape in declared}
    for name, axis in axes.items():
        if name != EVERY and name not in shapes:
            known = ", ".join(f"`{known}`" for known in shapes)
            raise InvalidSetting(f"`batch_axis` of `{title}`", expected=f"inputs: {known}", found=f"`{name}`")
        checked = [name] if name != EVERY else [other for other in shapes if other not in axes]
        for other in checked:
            if axis is not None and axis >= len(shapes[other]):
                expected = f"an axis of `{other}`, which has {len(shapes[other])}"
                raise InvalidSetting(f"`batch_axis` of `{title}`", expected=expected, found=str(axis))
    asked = {name: axes.get(name, axes.get(EVERY)) for name in shapes if name in axes or EVERY in axes}
    left = {name: shape for name, shape in shapes.items() if name not in asked}
    seen: dict[str, int | None] = dict.fromkeys(_with_rows(left), 0)
    return {**seen, **asked}


def _with_rows(shapes: Mapping[str, Sequence[int | str | None]]) -> Iterator[str]:
    """Return the inputs whose first dimension looks like rows: those of all inputs that are no constants.

    Inputs of fixed sizes belong to the call (a rate, a table). A first size that is also a size elsewhere
    counts something other than rows: the nodes of a graph, the steps of a sequence.
    """
    open_shapes = {
        name: shape for name, shape in shapes.items() if any(not isinstance(size, int) for size in shape)
    }
    firsts = {shape[0] for shape in open_shapes.values()}
    named = {first for first in firsts if first is not None and not _is_no_name(first)}
    elsewhere = {size for shape in open_shapes.values() for size in shape[1:]}
    if any(isinstance(first, int) for first in firsts) or len(named) > 1 or named & elsewhere:
        return
    # Beside constants, a size without a name may belong to anything.
    if len(open_shapes) == len(shapes) or named:
        yield from open_shapes


def _is_no_name(size: int | str) -> bool:
    return isinstance(size, str) and _NO_NAME.fullmatch(size) is not None


def open_sizes(inputs: Sequence[Tensor]) -> list[str]:
    """List the names of the sizes that a caller chooses, but for the batch."""
    names = (size for tensor in inputs for size in tensor.shape if isinstance(size, str) and size != BATCH)
    return list(dict.fromkeys(names))
