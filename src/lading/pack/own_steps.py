"""The steps of a class, `preprocess` and `postprocess`, as they answer where they are packed.

Starts no process, and knows nothing of the model between them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lading.errors import ConverterFailed, InvalidSetting, one_line
from lading.pack.python_models import load_here
from lading.runtime.python.shim import Model
from lading.signature import Array

Arrays = Mapping[str, Array]


def step_names(steps: Any) -> tuple[str, ...]:
    """Return which of `preprocess` and `postprocess` the class has; raises `InvalidSetting`."""
    where = f"`steps` `{getattr(steps, '__qualname__', steps)}`"
    if not inspect.isclass(steps) or not issubclass(steps, Model):
        kind = "the class" if inspect.isclass(steps) else f"a `{type(steps).__name__}`"
        raise InvalidSetting(
            where,
            expected="a class derived from `lading.Model`, with `preprocess` or `postprocess`",
            found=f"{kind} `{steps.__qualname__}`" if inspect.isclass(steps) else kind,
        )
    if steps.predict is not Model.predict:
        raise InvalidSetting(
            where,
            expected="no `predict`, as the model between the steps predicts",
            found="`predict`",
            hint="pack the class alone, or take `predict` out of it",
        )
    names = tuple(
        step for step in ("preprocess", "postprocess") if getattr(steps, step) is not getattr(Model, step)
    )
    if not names:
        raise InvalidSetting(where, expected="`preprocess` or `postprocess`", found="neither")
    return names


class Steps:
    """The steps as they answer here. Each has an object of its own, as it may have in a server.

    What one call keeps for another is gone there, too: that would be of another request.
    """

    def __init__(self, steps: Any, names: tuple[str, ...], folder: Path) -> None:
        self.names = names
        self.title = str(steps.__qualname__)
        self._repeated: set[str] = set()
        self._objects = {name: load_here(steps, folder) for name in names}

    def ask(self, step: str, arrays: Arrays) -> Any:
        """Return the answer of a step, which is asked twice the first time; raises `ConverterFailed`."""
        first = self._once(step, arrays)
        if step in self._repeated:
            return first
        # Once is enough, and steps may be slow: images are decoded for every question.
        self._repeated.add(step)
        if not _same(first, self._once(step, arrays)):
            raise ConverterFailed(
                f"`{step}` of `{self.title}`",
                expected="the same answer to the same input",
                found="another one the second time",
                hint="random answers cannot be proved: seed the generator in each call, or do without",
            )
        return first

    def _once(self, step: str, arrays: Arrays) -> Any:
        # A copy: a step may change what it gets.
        own = {name: array.copy() for name, array in arrays.items()}
        try:
            return getattr(self._objects[step], step)(own)
        except Exception as error:
            reason = f"{type(error).__name__}: {one_line(error)}"
            where = f"`{step}` of `{self.title}`"
            raise ConverterFailed(where, expected="an answer to the samples", found=reason) from error


def is_named(answer: Any) -> bool:
    """Return whether an answer has its arrays by name, as it has to if they are several."""
    return isinstance(answer, Mapping)


def _same(first: Any, again: Any) -> bool:
    if is_named(first) != is_named(again):
        return False
    if is_named(first):
        return first.keys() == again.keys() and all(_same(first[name], again[name]) for name in first)
    # Bit for bit: a tolerance would let small noise through.
    left, right = np.asarray(first), np.asarray(again)
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return bool(np.array_equal(left, right, equal_nan=left.dtype.kind == "f"))
