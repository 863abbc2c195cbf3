"""Values and sizes drawn for the inputs of an ONNX file that came without samples.

Everything is drawn from one seed and from the file, so that packing again gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from lading.convert.onnx_inputs import open_sizes
from lading.errors import ConverterFailed, SamplesRefused
from lading.signature import BATCH, Array, DType, Tensor

ROWS = 64
_LEAST_ROWS = 4
# Fewer rows of large inputs: 64 images of 640 × 640 take minutes and prove no more.
_MOST_VALUES = 2**18
_TOO_MANY_VALUES = 2**28  # 2 GB while they are drawn
# Tried in this order, one size for every open dimension; the first that the model takes is drawn.
_SIZES = (8, 16, 32, 64, 128, 256, 512, 1, 1024, 4096, 16_000)
# Networks for images halve them about five times, and readers of text want a line of 48 or 32 pixels.
_IMAGE_SIZES = (64, 48, 32, 96, 224, 128, 256, 320, 640, 8)
# Nodes that change neither the values of an index nor whose table it is for.
_PASSING = ("Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Transpose")


# Texts that a model looks up, by operator: the attributes that have them.
_LOOKED_UP = {
    "LabelEncoder": ("keys_strings", "classes_strings"),
    "OneHotEncoder": ("cats_strings",),
    "CategoryMapper": ("cats_strings",),
    "TfIdfVectorizer": ("pool_strings",),
}
_ANY_TEXTS = ("a", "b", "c")


@dataclass(frozen=True)
class KnownValues:
    """What a model looks up: the length of the table by input of integers, and the keys by input of texts.

    Texts under the empty name are of all inputs whose own are unknown.
    """

    limits: Mapping[str, int] = field(default_factory=dict)
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Any) -> KnownValues:
        """Read them from the graph."""
        return cls(index_limits(model), known_texts(model))


def draw_inputs(
    inputs: Sequence[Tensor],
    known: KnownValues,
    run: Callable[[Mapping[str, Array]], object],
    title: str,
    *,
    most_rows: int = ROWS,
) -> dict[str, Array]:
    """Draw values for every input, of the first sizes that `run` takes; raises `SamplesRefused`."""
    tried = list(_sizes_to_try(inputs))

    def drawn(sizes: Mapping[str, int]) -> dict[str, Array] | None:
        if _most_values(inputs, sizes) > _TOO_MANY_VALUES:
            return None
        arrays = _drawn(inputs, known, sizes, most_rows)
        try:
            run(arrays)
        except ConverterFailed:
            return None
        return arrays

    for size in tried:
        sizes = dict.fromkeys(open_sizes(inputs), size)
        arrays = drawn(sizes)
        if arrays is None:
            continue
        # One dimension wants this size, others need not: 256 rows of 256 samples are slow and prove no more.
        for name in sizes if size > _SIZES[0] and len(sizes) > 1 else ():
            smaller = drawn({**sizes, name: _SIZES[0]})
            if smaller is not None:
                sizes[name], arrays = _SIZES[0], smaller
        return arrays
    names = ", ".join(f"`{name}`" for name in open_sizes(inputs))
    what = f"{names} of {', '.join(map(str, tried))}" if names else "its inputs"
    raise SamplesRefused(
        f"`{title}` without samples",
        expected="a model that takes random values",
        found=f"one that fails on {what}",
        hint=f"give samples that the model takes: {samples_hint(inputs)}",
    )


def samples_hint(inputs: Sequence[Tensor]) -> str:
    """Return how to give samples to a model of these inputs."""
    if len(inputs) == 1:
        return f"`--samples rows.npy`, an array of `{inputs[0]}`"
    arrays = ", ".join(f"{tensor.name}=…" for tensor in inputs[:4])
    more = ", …" if len(inputs) > 4 else ""
    return f'`--samples rows.npz`, written by `numpy.savez("rows.npz", {arrays}{more})`'


def index_limits(model: Any) -> dict[str, int]:
    """Return the length of the table for every input whose integers are positions in one."""
    tables = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    # The input that a value is, after nodes that only move it.
    origins = {value.name: value.name for value in model.graph.input}
    limits: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type in _PASSING and node.input and node.input[0] in origins:
            origins.update(dict.fromkeys(node.output, origins[node.input[0]]))
        elif node.op_type == "Gather" and node.input[0] in tables and node.input[1] in origins:
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
            dims, origin = tables[node.input[0]], origins[node.input[1]]
            if dims:
                limits[origin] = min(limits.get(origin, dims[axis]), dims[axis])
    return limits


def known_texts(model: Any) -> dict[str, list[str]]:
    """Return the texts that the model looks up, by the input that they are looked up for."""
    # The inputs that a value is put together of.
    origins = {value.name: {value.name} for value in model.graph.input}
    texts: dict[str, list[str]] = {}
    for node in model.graph.node:
        names: set[str] = set().union(*(origins.get(name, set()) for name in node.input))
        if node.op_type in (*_PASSING, "Concat"):
            origins.update(dict.fromkeys(node.output, names))
        for attribute in node.attribute:
            if attribute.name in _LOOKED_UP.get(node.op_type, ()):
                keys = [text.decode(errors="replace") for text in attribute.strings]
                # Of several columns in one tensor, each has texts of its own: all are tried for all.
                for name in {*names, ""}:
                    texts.setdefault(name, []).extend(keys)
    return texts


def _sizes_to_try(inputs: Sequence[Tensor]) -> Iterator[int]:
    if not open_sizes(inputs):
        yield _SIZES[0]
    else:
        yield from _IMAGE_SIZES if any(_is_image(tensor) for tensor in inputs) else _SIZES


def _is_image(tensor: Tensor) -> bool:
    """Return whether the tensor has two open sizes beside channels: ``[n, 3, height, width]``."""
    is_open = [isinstance(size, str) for size in tensor.shape[1:]]
    return tensor.dtype != "string" and is_open in ([False, True, True], [True, True, False])


def _drawn(
    inputs: Sequence[Tensor], known: KnownValues, open_to: Mapping[str, int], most_rows: int
) -> dict[str, Array]:
    """Draw arrays whose open sizes are `open_to`, and as many rows as are worth it."""
    random = np.random.default_rng(0)
    widest = _most_values([tensor for tensor in inputs if tensor.batched], open_to)
    rows = max(_LEAST_ROWS, min(ROWS, _MOST_VALUES // max(1, widest)))
    sizes = {**open_to, BATCH: min(most_rows, rows)}
    arrays = {}
    for tensor in inputs:
        shape = tuple(entry if isinstance(entry, int) else sizes[entry] for entry in tensor.shape)
        if tensor.dtype == "string":
            texts = known.texts.get(tensor.name) or known.texts.get("") or _ANY_TEXTS
            arrays[tensor.name] = np.asarray(
                random.choice(np.array(texts, dtype=object), shape), dtype=object
            )
        else:
            arrays[tensor.name] = _values(tensor.dtype, shape, known.limits.get(tensor.name, 2), random)
    return arrays


def _most_values(inputs: Sequence[Tensor], open_to: Mapping[str, int]) -> int:
    """Return how many values the largest input has, in one row if it has a batch."""
    sizes = {**open_to, BATCH: 1}
    return max(
        (
            prod(entry if isinstance(entry, int) else sizes[entry] for entry in tensor.shape)
            for tensor in inputs
        ),
        default=1,
    )


def _values(dtype: DType, shape: tuple[int, ...], limit: int, random: np.random.Generator) -> Array:
    if dtype == "bool":
        return np.asarray(random.random(shape) < 0.5)
    if dtype.startswith("float"):
        return np.asarray(random.standard_normal(shape)).astype(dtype)
    if not shape:
        return np.ones(shape, dtype)  # a count or a rate, and of 0 steps a model shows nothing
    # Without a table only 0 and 1: integers are mostly positions in one, of a length that nobody knows.
    most = min(limit, int(np.iinfo(dtype).max) + 1)
    return np.asarray(random.integers(0, most, shape)).astype(dtype)


def scaled(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return rows of very different size: of three rows one is 16 times larger and one 16 times smaller."""
    changed = {}
    for name, array in arrays.items():
        factor = np.ones(len(array))
        factor[1::3], factor[2::3] = 16.0, 1 / 16
        if array.dtype.kind == "f":
            by_row = factor.reshape(-1, *[1] * (array.ndim - 1))  # [rows, 1, …]
            changed[name] = (array * by_row).astype(array.dtype)
        else:
            changed[name] = array
    return changed
