"""Rules, prepared for arrays of many rows: how many rows fail each rule, and which value of which row does.

Each part tests the rules of one kind on one input with a few calls of numpy, whatever their number; texts are
looked at once for each different one. Counts nothing over time and knows no server.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lading import text_patterns
from lading.input_checks import Rule, RuleKind
from lading.profile.columns import Source, values
from lading.profile.texts import text_numbers
from lading.signature import Array, Signature, Tensor

Inputs = Mapping[str, Array]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that fails a rule, and the value that does, for the caller who sent it."""

    row: int
    rule: Rule
    value: Any


class Checks:
    """The rules of one version of a model, prepared for its inputs. Threads may share it."""

    def __init__(self, rules: Sequence[Rule], signature: Signature, clock: Clock = time.time) -> None:
        self.rules = tuple(rules)
        tensors = {tensor.name: tensor for tensor in signature.inputs}
        self._parts = tuple(_parts(self.rules, tensors, clock))

    def __bool__(self) -> bool:
        """Return whether there is a rule."""
        return bool(self.rules)

    def passes(self, inputs: Inputs) -> bool:
        """Return whether no row fails a rule; each request of a model that warns or rejects comes here."""
        for part in self._parts:  # noqa: SIM110 - a loop is faster than `all` with a generator
            if not part.passes(inputs):
                return False
        return True

    def counts(self, inputs: Inputs) -> Array:
        """Return how many rows fail each rule: ``[rules]``."""
        counts = np.zeros(len(self.rules), np.int64)
        for part in self._parts:
            if not part.passes(inputs):
                counts[part.at] += np.count_nonzero(part.mask(inputs), axis=0)
        return counts

    def first(self, inputs: Inputs) -> tuple[Failure, int]:
        """Return the first failure, by row, and how many rows fail; only for inputs that do not pass."""
        masks = [(part, part.mask(inputs)) for part in self._parts if not part.passes(inputs)]
        rows = np.logical_or.reduce([mask.any(axis=1) for _, mask in masks])  # [rows]
        row = int(np.argmax(rows))
        part, mask = next((part, mask) for part, mask in masks if mask[row].any())
        rule = self.rules[part.at[int(np.argmax(mask[row]))]]
        return Failure(row, rule, part.value(inputs, row, rule)), int(np.count_nonzero(rows))

    def failures(self, inputs: Inputs) -> Iterator[Failure]:
        """Return all failures, those of one part after the other, by row within it."""
        for part in self._parts:
            if part.passes(inputs):
                continue
            rows, which = np.nonzero(part.mask(inputs))
            for row, number in zip(rows.tolist(), which.tolist(), strict=True):
                rule = self.rules[part.at[number]]
                yield Failure(row, rule, part.value(inputs, row, rule))


class _Part:
    """What tests some rules of one input. ``at`` are their places in all rules."""

    def __init__(self, tensor: Tensor, rules: Sequence[tuple[int, Rule]]) -> None:
        self.tensor = tensor
        self.at = [at for at, _ in rules]
        self.rules = [rule for _, rule in rules]
        self._is_matrix = tensor.batched and len(tensor.shape) == 2

    def mask(self, inputs: Inputs) -> Array:
        """Mark the rows that fail each rule: ``[rows, rules of this part]``."""
        raise NotImplementedError

    def passes(self, inputs: Inputs) -> bool:
        """Return whether no row fails a rule of this part."""
        return not np.count_nonzero(self.mask(inputs))

    def value(self, inputs: Inputs, row: int, rule: Rule) -> Any:
        """Return the value by which a row fails a rule."""
        return self.columns(inputs)[row, max(0, rule.position)]

    def columns(self, inputs: Inputs) -> Array:
        """Return the values of each row, one after the other: ``[rows, values]``."""
        array = inputs[self.tensor.name]
        if self._is_matrix:
            return array
        rows = array if self.tensor.batched else array[None]
        return rows.reshape(len(rows), math.prod(rows.shape[1:]))


class _Matrix(_Part):
    """Bounds, missing values and whole numbers: a few comparisons for all columns of an input."""

    def __init__(self, tensor: Tensor, rules: Sequence[tuple[int, Rule]]) -> None:
        order: tuple[RuleKind, ...] = ("range", "missing", "integer")
        super().__init__(tensor, sorted(rules, key=lambda pair: order.index(pair[1].kind)))
        places = [max(0, rule.position) for rule in self.rules]
        self._positions = [
            [place for place, rule in zip(places, self.rules, strict=True) if rule.kind == kind]
            for kind in order
        ]
        width = max(places) + 1
        if self._is_matrix and isinstance(tensor.shape[1], int):
            width = tensor.shape[1]
        low, high, whole = np.full(width, -math.inf), np.full(width, math.inf), np.zeros(width, bool)
        for place, rule in zip(places, self.rules, strict=True):
            if rule.kind == "range":
                low[place], high[place] = rule.low, rule.high
            whole[place] |= rule.kind == "integer"
        is_float = tensor.dtype.startswith("float")
        if is_float:
            # In the dtype of the values: a caller's 0.1 is as far from 0.1 as the bound is.
            with np.errstate(over="ignore"):
                low, high = low.astype(tensor.numpy_dtype), high.astype(tensor.numpy_dtype)
        self._low, self._high = low, high
        self._whole = whole if is_float and whole.any() else None
        self._is_all = tensor.scalar_rows or (self._is_matrix and width == tensor.shape[1])
        self._width = width
        # A row of one value is compared as one.
        self._single = (low.item(), high.item(), bool(whole.item())) if tensor.scalar_rows else None

    def passes(self, inputs: Inputs) -> bool:
        if not self._is_all:
            return super().passes(inputs)
        array = inputs[self.tensor.name]
        if self._single is not None and array.size == 1:
            low, high, is_whole = self._single
            value = array.item()
            if low <= value <= high and not (is_whole and value % 1):
                return True
        # Of a single row each call takes half a microsecond, whatever it does.
        inside = (array >= self._low) & (array <= self._high)
        if np.count_nonzero(inside) < inside.size:  # Or NaN, which is inside of nothing.
            return not np.count_nonzero(self.mask(inputs))
        return self._whole is None or not np.count_nonzero((np.rint(array) != array) & self._whole)

    def mask(self, inputs: Inputs) -> Array:
        array = self.columns(inputs)[:, : self._width]
        bounded, missing, whole = self._positions
        # NaN is not outside.
        outside = ((array < self._low) | (array > self._high))[:, bounded]
        if array.dtype.kind != "f":
            return np.concatenate([outside, np.zeros((len(array), len(missing) + len(whole)), bool)], axis=1)
        return np.concatenate([outside, np.isnan(array[:, missing]), _not_whole(array[:, whole])], axis=1)


class _Everywhere(_Part):
    """A rule for every value of a row: of an image, or of an input without columns."""

    def __init__(self, tensor: Tensor, rules: Sequence[tuple[int, Rule]]) -> None:
        super().__init__(tensor, rules)
        self._fails = [_number_test(rule, tensor) for rule in self.rules]

    def mask(self, inputs: Inputs) -> Array:
        array = self.columns(inputs)
        return np.stack([fails(array).any(axis=1) for fails in self._fails], axis=1)

    def value(self, inputs: Inputs, row: int, rule: Rule) -> Any:
        array = self.columns(inputs)[row]
        return array[np.argmax(self._fails[self.rules.index(rule)](array))]


class _Numbers(_Part):
    """Sets, whole numbers and missing values, each column by itself."""

    def __init__(self, tensor: Tensor, rules: Sequence[tuple[int, Rule]]) -> None:
        super().__init__(tensor, rules)
        self._tests = [(max(0, rule.position), _number_test(rule, tensor)) for rule in self.rules]

    def mask(self, inputs: Inputs) -> Array:
        array = self.columns(inputs)
        return np.stack([fails(array[:, position]) for position, fails in self._tests], axis=1)


class _Summaries(_Part):
    """Bounds of what is measured of a whole row: the norm of an embedding, the mean of an image."""

    def mask(self, inputs: Inputs) -> Array:
        array = inputs[self.tensor.name]
        outside = []
        for rule in self.rules:
            numbers = self._measured(rule, array)
            outside.append((numbers < rule.low) | (numbers > rule.high))
        return np.stack(outside, axis=1)

    def value(self, inputs: Inputs, row: int, rule: Rule) -> Any:
        return self._measured(rule, inputs[self.tensor.name])[row]

    def _measured(self, rule: Rule, array: Array) -> Array:
        return values(Source(rule.tensor, rule.column, rule.position, rule.summary), array, self.tensor)


class _Texts(_Part):
    """Everything about texts: each different one of a column is looked at once."""

    def __init__(self, tensor: Tensor, rules: Sequence[tuple[int, Rule]], clock: Clock) -> None:
        super().__init__(tensor, rules)
        self._tests = [(rule.position, _text_test(rule, clock)) for rule in self.rules]

    def passes(self, inputs: Inputs) -> bool:
        array = self.columns(inputs)
        for position, fails in self._tests:
            column = array if position < 0 else array[:, position]
            if len(array) == 1 and column.size == 1:
                if fails(column.item()):
                    return False
            elif any(map(fails, set(column.ravel().tolist()))):
                return False
        return True

    def mask(self, inputs: Inputs) -> Array:
        array = self.columns(inputs)
        mask = np.zeros((len(array), len(self._tests)), bool)
        for at, (position, fails) in enumerate(self._tests):
            column = array if position < 0 else array[:, position : position + 1]
            bad = {text for text in set(column.ravel().tolist()) if fails(text)}
            if bad:
                mask[:, at] = [any(text in bad for text in row) for row in column.tolist()]
        return mask

    def value(self, inputs: Inputs, row: int, rule: Rule) -> Any:
        texts = self.columns(inputs)[row]
        if rule.position >= 0:
            return texts[rule.position]
        fails = self._tests[self.rules.index(rule)][1]
        return next((text for text in texts.tolist() if fails(text)), texts[0])


class _Pairs(_Part):
    """Columns that another one is never smaller than: numbers, or times."""

    def __init__(
        self, tensor: Tensor, rules: Sequence[tuple[int, Rule]], tensors: Mapping[str, Tensor]
    ) -> None:
        super().__init__(tensor, rules)
        self._tensors = tensors

    def mask(self, inputs: Inputs) -> Array:
        larger = []
        for rule in self.rules:
            assert rule.at_most is not None  # By its kind.
            other, _, position = rule.at_most
            column = self._numbers(inputs, self.tensor, rule.position)
            larger.append(column > self._numbers(inputs, self._tensors[other], position))
        return np.stack(larger, axis=1)

    def _numbers(self, inputs: Inputs, tensor: Tensor, position: int) -> Array:
        column = values(Source(tensor.name, "", position), inputs[tensor.name], tensor)
        if tensor.dtype != "string":
            return column
        times = text_numbers("timestamp", column)
        return np.where(np.isinf(times), np.nan, times)  # What is no time is neither smaller nor larger.


def _parts(rules: Sequence[Rule], tensors: Mapping[str, Tensor], clock: Clock) -> Iterator[_Part]:
    groups: dict[tuple[str, Callable[..., _Part]], list[tuple[int, Rule]]] = {}
    for at, rule in enumerate(rules):
        groups.setdefault((rule.tensor, _kind_of(rule, tensors[rule.tensor])), []).append((at, rule))
    for (name, kind), own in groups.items():
        if kind is _Texts:
            yield _Texts(tensors[name], own, clock)
        elif kind is _Pairs:
            yield _Pairs(tensors[name], own, tensors)
        else:
            yield kind(tensors[name], own)


def _kind_of(rule: Rule, tensor: Tensor) -> Callable[..., _Part]:
    if rule.kind == "at_most":
        return _Pairs
    if tensor.dtype == "string":
        return _Texts
    if rule.summary:
        return _Summaries
    if rule.position < 0 and not tensor.scalar_rows:
        return _Everywhere
    is_plain = rule.kind in ("range", "missing", "integer")
    return _Matrix if is_plain else _Numbers


def _number_test(rule: Rule, tensor: Tensor) -> Callable[[Array], Array]:
    """Return what marks the numbers that fail a rule."""
    is_float = tensor.dtype.startswith("float")
    if rule.kind == "missing":
        return np.isnan if is_float else partial(np.zeros_like, dtype=bool)
    if rule.kind == "range":
        return lambda array: (array < rule.low) | (array > rule.high)
    if rule.kind == "integer":
        return _not_whole
    allowed = np.array(sorted(float(value) for value in rule.allowed), tensor.numpy_dtype)
    return partial(_not_in, allowed)


def _not_whole(array: Array) -> Array:
    fractional: Array = (array != np.rint(array)) & ~np.isnan(array)
    return fractional


def _not_in(allowed: Array, array: Array) -> Array:
    # `isin` takes ten times as long.
    at = np.minimum(np.searchsorted(allowed, array), len(allowed) - 1)
    other = allowed[at] != array
    outside: Array = other & ~np.isnan(array) if array.dtype.kind == "f" else other
    return outside


def _text_test(rule: Rule, clock: Clock) -> Callable[[str], bool]:
    """Return what says whether a text fails a rule; an empty one is missing."""
    if rule.kind == "missing":
        return lambda text: not text
    if rule.kind == "set":
        allowed = frozenset((*rule.allowed, ""))
        return lambda text: text not in allowed
    if rule.kind == "length":
        low, high = rule.low, rule.high
        return lambda text: bool(text) and not low <= len(text) <= high
    if rule.kind == "pattern":
        matches = text_patterns.compiled(rule.pattern).matches
        return lambda text: bool(text) and not matches(text)

    def is_no_such_time(text: str) -> bool:
        if not text:
            return False
        seconds = float(text_numbers("timestamp", np.array([text], object))[0])
        return not rule.low <= seconds <= min(rule.high, clock() + rule.ahead_s)

    return is_no_such_time
