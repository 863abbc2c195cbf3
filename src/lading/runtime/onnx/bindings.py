"""Input and output buffers bound to a session once, for the few rows that most requests have.

A run through a slot makes no array, looks up no name and allocates nothing inside ONNX Runtime: 16 µs
instead of 26 for a small model between cold caches. A slot belongs to one thread at a time; models whose
outputs' sizes cannot be known beforehand have none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lading.signature import Array, Tensor

MAX_ROWS = 8
_MOST_FORMS = 64

Form = tuple[tuple[int, ...], Sequence[str]]
"""The shape of the first input, and the outputs asked for."""


class Slot:
    """One set of bound buffers: the inputs and the asked outputs for one number of rows."""

    __slots__ = ("_binding", "_inputs", "_outputs", "_run")

    def __init__(self, session: Any, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
        binding = session.io_binding()
        self._inputs = tuple((name, np.empty_like(array, order="C")) for name, array in inputs.items())
        self._outputs = tuple((name, np.empty_like(array, order="C")) for name, array in outputs.items())
        for name, array in self._inputs:
            binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name, array in self._outputs:
            binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        self._run = session._sess.run_with_iobinding  # noqa: SLF001 - the public one only adds a check
        self._binding = binding._iobinding  # noqa: SLF001

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array] | None:
        """Compute; the arrays given back are the caller's own.

        None where an input is not of this form, for numpy would cast and broadcast it.
        """
        for name, buffer in self._inputs:
            array = inputs[name]
            if type(array) is not np.ndarray or array.shape != buffer.shape or array.dtype != buffer.dtype:
                return None
            buffer[...] = array
        self._run(self._binding, None)
        return {name: buffer.copy() for name, buffer in self._outputs}


class Slots:
    """The free slots of one session, by shape; made when first needed, from a run without one.

    A form whose bound run fails is never bound again: the sizes of its outputs depend on more than its rows.
    """

    def __init__(
        self,
        session: Any,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        failures: tuple[type[Exception], ...],
    ) -> None:
        self._session = session
        self._failures = failures
        self._first = inputs[0].name if inputs else ""
        self._names = {tensor.name for tensor in inputs}
        fixed = all(_one_dynamic(tensor) for tensor in (*inputs, *outputs))
        batches = {tensor.shape[0] for tensor in (*inputs, *outputs) if tensor.shape}
        self._usable = fixed and bool(inputs) and len(batches) == 1
        self._free: dict[Form, list[Slot]] = {}
        self._unfit: set[Form] = set()

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array] | None:
        """Compute through a free slot; None where there is none for such inputs and outputs."""
        if not self._usable or type(outputs) is not tuple or inputs.keys() != self._names:
            return None
        form = (getattr(inputs[self._first], "shape", ()), outputs)
        free = self._free.get(form)
        try:
            slot = free.pop() if free else None
        except IndexError:  # Another thread was quicker.
            return None
        if slot is None or free is None:
            return None
        try:
            results = slot.run(inputs)
        except self._failures:
            # Whether the input is at fault as well shows in the run without a slot, which follows.
            self._unfit.add(form)
            self._free.pop(form, None)
            return None
        free.append(slot)
        return results

    def learn(
        self, inputs: Mapping[str, Array], outputs: Sequence[str], results: Mapping[str, Array]
    ) -> None:
        """Make a slot after a run without one, if the next run of this form can use it."""
        if not self._usable or type(outputs) is not tuple:
            return
        shape = inputs[self._first].shape
        if shape[0] > MAX_ROWS:
            return
        form = (shape, outputs)
        steady = all(array.dtype != object and array.shape[:1] == shape[:1] for array in results.values())
        if form in self._unfit or not steady:
            return
        if form not in self._free and len(self._free) >= _MOST_FORMS:
            return
        try:
            slot = Slot(self._session, inputs, results)
        except self._failures:
            self._unfit.add(form)
            return
        self._free.setdefault(form, []).append(slot)


def _one_dynamic(tensor: Tensor) -> bool:
    """Return whether only the first size varies, and with it the rows; and the values are numbers."""
    first, *rest = tensor.shape or (1,)
    return isinstance(first, str) and tensor.dtype != "string" and all(isinstance(size, int) for size in rest)
