"""The sizes of a module's inputs: which axis has the rows, which are open, and calls of other sizes.

Runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lading.convert.onnx_inputs import EVERY, BatchAxis
from lading.errors import InvalidSetting, SamplesRefused
from lading.signature import BATCH, Array

OpenAxes = Mapping[str, Mapping[int, str]]
"""The axes that are open by input name, each with the name of its size; without one it is chosen."""

Arrays = Mapping[str, Array]

_PRIMES = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97)
_ROWS = (1, 2, 7)
_DRAWN = 32
_FEW = 20


@dataclass(frozen=True)
class Sizes:
    """The name of each open size, by input and axis; rows have the name `BATCH`.

    Sizes that are `counted` are never tried otherwise than samples have them: values may refer to them, as
    the offsets of an `EmbeddingBag` do.
    """

    names: Mapping[tuple[str, int], str]
    counted: frozenset[str] = frozenset()

    @classmethod
    def of(cls, batches: Sequence[Arrays], axes: BatchAxis, opened: OpenAxes, title: str) -> Sizes:
        """Find what is open: rows, axes that differ between samples, and those that are named in `opened`.

        Raises `InvalidSetting` for inputs and axes that there are not, `SamplesRefused`.
        """
        first = batches[0]
        _check(first, axes, opened, title)
        names = dict.fromkeys(_row_axes(batches, axes).items(), BATCH)
        counts: set[str] = set()
        seen: dict[tuple[int, ...], str] = {}
        for name, array in first.items():
            for axis in range(array.ndim):
                sizes = tuple(batch[name].shape[axis] for batch in batches)
                own = opened.get(name, {})
                # Without rows, the first sizes of several inputs are counts of their own.
                counted = axis == 0 and BATCH not in names.values() and not axes
                if (name, axis) in names or not (len(set(sizes)) > 1 or axis in own or counted):
                    continue
                label = own.get(axis) or f"{name}_{axis}"
                if len(set(sizes)) > 1 and not own.get(axis):
                    label = seen.setdefault(sizes, label)  # sizes that go together are one
                names[name, axis] = label
                counts |= {label} if counted else set()
        if counts and len(batches) == 1:
            raise SamplesRefused(
                f"samples of `{title}`",
                expected="several calls of other sizes, because its inputs have no number of rows in common",
                found="one call",
                hint="pass a list of calls in Python: `[(words, offsets), (more_words, their_offsets)]`",
            )
        return cls(names, frozenset(counts))

    @property
    def open(self) -> list[str]:
        """The names of the open sizes that are no rows."""
        return [name for name in dict.fromkeys(self.names.values()) if name != BATCH]

    @property
    def has_rows(self) -> bool:
        """Whether some input has rows."""
        return BATCH in self.names.values()

    def shape(self, name: str, array: Array) -> tuple[int | str, ...]:
        """Return the shape of an input as a signature has it."""
        return tuple(self.names.get((name, axis), size) for axis, size in enumerate(array.shape))

    def measured(self, arrays: Arrays) -> dict[str, int]:
        """Return the open sizes of these arrays."""
        return {label: arrays[name].shape[axis] for (name, axis), label in self.names.items()}

    def resized(self, arrays: Arrays, sizes: Mapping[str, int]) -> dict[str, Array]:
        """Return the arrays in other open sizes: what is too long is cut, what is too short repeated."""
        changed = dict(arrays)
        for (name, axis), label in self.names.items():
            array = changed[name]
            if label in sizes and array.shape[axis] != sizes[label]:
                index = np.arange(sizes[label]) % array.shape[axis]
                changed[name] = np.take(array, index, axis=axis)
        return changed

    def few(self, arrays: Arrays) -> Arrays:
        """Return the arrays with so many rows that several calls of them are no work."""
        rows = self.measured(arrays).get(BATCH, 0)
        return self.resized(arrays, {BATCH: _FEW}) if rows > _FEW else arrays

    def example(self, arrays: Arrays) -> dict[str, Array]:
        """Return arrays to export with: no open size of 0 or 1, and no two sizes that are the same."""
        # The exporter takes two sizes that are the same for one, and 1 for a size that is broadcast.
        fixed = {
            size
            for name, array in arrays.items()
            for axis, size in enumerate(array.shape)
            if (name, axis) not in self.names
        }
        sizes: dict[str, int] = {}
        for label, size in self.measured(arrays).items():
            taken = fixed | set(sizes.values())
            free = (other for other in _PRIMES if other not in taken)
            keep = label != BATCH and size > 1 and (size not in taken or label in self.counted)
            sizes[label] = size if keep else next(free, max(2, size))
        return self.resized(arrays, sizes)

    def calls(self, batches: Sequence[Arrays]) -> Iterator[tuple[str, Arrays]]:
        """Return calls of other sizes than the first batch, with what each is."""
        first = self.few(batches[0])
        for batch in batches[1:]:
            yield f"samples of {_described(self.measured(batch))}", batch
        usual = self.measured(first)
        for label, size in usual.items() if not self.counted else ():
            wanted = _ROWS if label == BATCH else (1, 2, 3, size - 1, size + 1, 2 * size)
            for other in sorted({*wanted} - {size}):
                if other > 0:
                    yield (
                        f"a call of {_described({**usual, label: other})}",
                        self.resized(first, {label: other}),
                    )
        if self.has_rows:
            yield "rows drawn between the samples", self._drawn(batches[0])

    def _drawn(self, arrays: Arrays) -> dict[str, Array]:
        """Return rows on the line between two samples; whole numbers are those of one."""
        random = np.random.default_rng(20240229)
        rows = self.measured(arrays)[BATCH]
        first, second = random.integers(0, rows, (2, _DRAWN))
        weight = random.random(_DRAWN)
        drawn = dict(arrays)
        for (name, axis), label in self.names.items():
            if label == BATCH:
                near, far = (np.take(arrays[name], index, axis=axis) for index in (first, second))
                drawn[name] = near
                if near.dtype.kind == "f":
                    shape = [_DRAWN if at == axis else 1 for at in range(near.ndim)]
                    with np.errstate(invalid="ignore"):
                        mixed = near + weight.reshape(shape) * (far.astype(np.float64) - near)
                    # Between a number and an infinity, as masks have it, there is none.
                    drawn[name] = np.where(np.isfinite(mixed), mixed, near).astype(near.dtype)
        return drawn


def observed_shapes(
    calls: Sequence[tuple[Mapping[str, int], Arrays]],
) -> dict[str, tuple[int | str | None, ...]]:
    """Return the shapes of outputs as calls of several sizes show them; None is a size of its own.

    Each call is its open sizes and its outputs, which have the same axes in all.
    """
    shapes: dict[str, tuple[int | str | None, ...]] = {}
    for name, array in calls[0][1].items():
        sizes: list[int | str | None] = []
        for axis in range(array.ndim):
            seen = [outputs[name].shape[axis] for _, outputs in calls]
            labels = [
                label
                for label in calls[0][0]
                if all(own[label] == size for (own, _), size in zip(calls, seen, strict=True))
            ]
            fixed = len(set(seen)) == 1 and seen[0] > 0
            # One call alone does not tell a size from another that is equal here: rows come first.
            sizes.append(labels[0] if labels and (axis == 0 or not fixed) else seen[0] if fixed else None)
        shapes[name] = tuple(sizes)
    return shapes


def parse_open_axes(texts: Sequence[str]) -> OpenAxes:
    """Read ``INPUT=AXIS`` and ``INPUT=AXIS:NAME``; raises `InvalidSetting`."""
    opened: dict[str, dict[int, str]] = {}
    for text in texts:
        name, _, rest = text.rpartition("=")
        axis, _, label = rest.partition(":")
        if not name or not axis.isdecimal():
            expected = "`INPUT=AXIS` or `INPUT=AXIS:NAME`"
            raise InvalidSetting("`open_axes`", expected=expected, found=f"`{text}`")
        opened.setdefault(name, {})[int(axis)] = label
    return opened


def _row_axes(batches: Sequence[Arrays], axes: BatchAxis) -> dict[str, int]:
    """Return the axis of rows of each input that has one: as asked, else 0 where all inputs agree."""
    first = batches[0]
    asked = {name: axes.get(name, axes.get(EVERY)) for name in first if name in axes or EVERY in axes}
    left = [name for name, array in first.items() if name not in asked and array.ndim]
    agree = all(len({len(batch[name]) for name in left}) <= 1 for batch in batches)
    chosen: dict[str, int | None] = {**asked, **(dict.fromkeys(left, 0) if agree else {})}
    return {name: axis for name, axis in chosen.items() if axis is not None}


def _check(arrays: Arrays, axes: BatchAxis, opened: OpenAxes, title: str) -> None:
    asked = [("batch_axis", name, axis) for name, axis in axes.items() if name != EVERY]
    asked += [("open_axes", name, axis) for name, own in opened.items() for axis in own]
    for setting, name, axis in asked:
        if name not in arrays:
            known = ", ".join(f"`{known}`" for known in arrays)
            raise InvalidSetting(f"`{setting}` of `{title}`", expected=f"inputs: {known}", found=f"`{name}`")
        if axis is not None and axis >= arrays[name].ndim:
            expected = f"an axis of `{name}`, which has {arrays[name].ndim}"
            raise InvalidSetting(f"`{setting}` of `{title}`", expected=expected, found=str(axis))


def _described(sizes: Mapping[str, int]) -> str:
    return ", ".join(
        f"{size} row{'s' if size != 1 else ''}" if label == BATCH else f"`{label}` {size}"
        for label, size in sizes.items()
    )
