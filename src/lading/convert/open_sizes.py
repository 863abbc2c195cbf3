"""Sizes that a model leaves open beside the batch, such as the length of a sequence: which, and proved how.

Samples have one size of each. Others are made of them, by cutting and repeating, and the framework is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from msgspec import structs

from lading.convert import graph, onnx_inputs
from lading.convert.row_dependence import excess, usual_size
from lading.errors import ConverterFailed
from lading.signature import Array, Tensor

Answers = Callable[[Mapping[str, Array]], "dict[str, Array] | None"]
"""The framework's answers, or None if it refuses."""


def settle(
    inputs: tuple[Tensor, ...], arrays: Mapping[str, Array], answers: Answers
) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Return the inputs with the sizes that the framework takes others of, and notes about those it does not.

    Sizes of which the framework takes others only together get one name.
    """
    sizes = _sample_sizes(inputs, arrays)
    tied = [name for name in sizes if not _takes_others(inputs, arrays, answers, [name], sizes[name])]
    by_size = sorted(tied, key=lambda name: sizes[name])
    settled = inputs
    for size, names in groupby(by_size, key=lambda name: sizes[name]):
        group = list(names)
        if len(group) > 1 and _takes_others(inputs, arrays, answers, group, size):
            settled = _renamed(settled, dict.fromkeys(group, group[0]))
        else:
            settled = fixed(settled, arrays, group)
    return settled, notes(inputs, settled)


def fixed(
    inputs: tuple[Tensor, ...], arrays: Mapping[str, Array], names: Sequence[str]
) -> tuple[Tensor, ...]:
    """Return the inputs with these open sizes fixed to those of the samples."""
    return _renamed(inputs, {name: _sample_sizes(inputs, arrays)[name] for name in names})


def notes(inputs: Sequence[Tensor], settled: Sequence[Tensor]) -> tuple[str, ...]:
    """Return a sentence for each size that was open and is fixed now."""
    return tuple(
        f"axis {axis} of `{before.name}` is fixed at {now} as in the samples: other sizes are not proved"
        for before, after in zip(inputs, settled, strict=True)
        for axis, (was, now) in enumerate(zip(before.shape, after.shape, strict=True))
        if isinstance(was, str) and isinstance(now, int)
    )


def prove(
    inputs: tuple[Tensor, ...],
    arrays: Mapping[str, Array],
    answers: Answers,
    run: graph.Evaluate,
    title: str,
) -> None:
    """Compare both at other sizes than those of the samples; raises `ConverterFailed` where they differ."""
    sizes = _sample_sizes(inputs, arrays)
    for name, size in sizes.items():
        for other in _others(size):
            changed = _resized(inputs, arrays, [name], other)
            expected, converted = answers(changed), _attempt(run, changed)
            difference = _difference(expected, converted)
            if difference is not None:
                raise ConverterFailed(
                    f"`{title}` with {other} instead of {size} for `{name}`",
                    expected="the framework's answers" if expected is not None else "a refusal",
                    found=difference,
                )


def _attempt(run: graph.Evaluate, arrays: Mapping[str, Array]) -> dict[str, Array] | None:
    try:
        return run(arrays)
    except ConverterFailed:
        return None


def _difference(expected: Mapping[str, Array] | None, converted: Mapping[str, Array] | None) -> str | None:
    if expected is None or converted is None:
        if expected is converted:
            return None
        return "an answer" if expected is None else "none: the converted model fails"
    for name, array in expected.items():
        most = excess(array, converted[name], usual_size(array))
        if most is not None:
            return f"output `{name}` differs by up to {most:.2g}"
    return None


def _takes_others(
    inputs: Sequence[Tensor], arrays: Mapping[str, Array], answers: Answers, names: Sequence[str], size: int
) -> bool:
    return any(answers(_resized(inputs, arrays, names, other)) is not None for other in _others(size))


def _others(size: int) -> list[int]:
    # Networks that halve a size several times take twice as much, and rarely one more.
    return [other for other in dict.fromkeys((size + 1, 2 * size, size // 2, 1)) if other not in (0, size)]


def _resized(
    inputs: Sequence[Tensor], arrays: Mapping[str, Array], names: Sequence[str], size: int
) -> dict[str, Array]:
    changed = dict(arrays)
    for tensor in inputs:
        for axis, label in enumerate(tensor.shape):
            if label in names:
                own = changed[tensor.name]
                changed[tensor.name] = own.take(np.arange(size) % own.shape[axis], axis=axis)
    return changed


def _sample_sizes(inputs: Sequence[Tensor], arrays: Mapping[str, Array]) -> dict[str, int]:
    """Return the size that the samples have of each open one."""
    known = set(onnx_inputs.open_sizes(inputs))
    return {
        label: arrays[tensor.name].shape[axis]
        for tensor in inputs
        for axis, label in enumerate(tensor.shape)
        if isinstance(label, str) and label in known
    }


def _renamed(inputs: Sequence[Tensor], names: Mapping[str, Any]) -> tuple[Tensor, ...]:
    return tuple(
        structs.replace(tensor, shape=tuple(names.get(str(size), size) for size in tensor.shape))
        for tensor in inputs
    )
