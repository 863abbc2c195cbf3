"""Input and output buffers bound to a session once, for the small batches that most requests are.

Models whose output sizes cannot be known before a run are never bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lading.signature import Array, Tensor

# A bound run makes no array, looks up no name and allocates nothing inside ONNX Runtime: 16 µs instead of 26
# for a small model with cold caches. Larger batches gain little, and their buffers would hold memory.
MAX_ROWS = 8
_MAX_KEYS = 64

BindingKey = tuple[tuple[int, ...], Sequence[str]]
"""The shape of the first input, and the requested outputs."""


class Binding:
    """The bound buffers of all inputs and the requested outputs, for one number of rows. Not thread-safe."""

    __slots__ = ("_inputs", "_io_binding", "_outputs", "_run")

    def __init__(self, session: Any, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
        binding = session.io_binding()
        self._inputs = tuple((name, np.empty_like(array, order="C")) for name, array in inputs.items())
        self._outputs = tuple((name, np.empty_like(array, order="C")) for name, array in outputs.items())
        for name, array in self._inputs:
            binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name, array in self._outputs:
            binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        self._run = session._sess.run_with_iobinding  # noqa: SLF001 - the public one only adds a check
        self._io_binding = binding._iobinding  # noqa: SLF001

    def run(self, inputs: Mapping[str, Array], options: Any) -> dict[str, Array] | None:
        """Compute the outputs with these run options; the returned arrays are the caller's own.

        Return None if an input has another shape or dtype than the buffers.
        """
        for name, buffer in self._inputs:
            array = inputs[name]
            # Checked here, because the assignment below would cast and broadcast.
            if type(array) is not np.ndarray or array.shape != buffer.shape or array.dtype != buffer.dtype:
                return None
            buffer[...] = array
        self._run(self._io_binding, options)
        return {name: buffer.copy() for name, buffer in self._outputs}


class BindingPool:
    """The free bindings of one session, by key. They are made when first needed, from a run without one."""

    def __init__(
        self,
        session: Any,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        errors: tuple[type[Exception], ...],
    ) -> None:
        self._session = session
        self._errors = errors
        self._first_input = inputs[0].name if inputs else ""
        self._names = {tensor.name for tensor in inputs}
        only_rows_vary = all(_only_rows_vary(tensor) for tensor in (*inputs, *outputs))
        batch_sizes = {tensor.shape[0] for tensor in (*inputs, *outputs) if tensor.shape}
        self._usable = only_rows_vary and bool(inputs) and len(batch_sizes) == 1
        self._free: dict[BindingKey, list[Binding]] = {}
        # Keys whose bound run failed: the sizes of their outputs depend on more than the number of rows.
        self._unbindable: set[BindingKey] = set()

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str], options: Any = None
    ) -> dict[str, Array] | None:
        """Compute with a free binding, or return None if there is none for these inputs and outputs."""
        if not self._usable or type(outputs) is not tuple or inputs.keys() != self._names:
            return None
        key = (getattr(inputs[self._first_input], "shape", ()), outputs)
        free = self._free.get(key)
        try:
            binding = free.pop() if free else None
        except IndexError:  # Another thread took the last one.
            return None
        if binding is None or free is None:
            return None
        try:
            results = binding.run(inputs, options)
        except self._errors:
            if options is not None and options.terminate:
                raise  # It was ended from outside, which says nothing about the buffers.
            # The run without a binding, which follows, shows whether the input is at fault as well.
            self._unbindable.add(key)
            self._free.pop(key, None)
            return None
        free.append(binding)
        return results

    def bind(self, inputs: Mapping[str, Array], outputs: Sequence[str], results: Mapping[str, Array]) -> None:
        """Make a binding after a run without one, if the next run with this key could use it."""
        if not self._usable or type(outputs) is not tuple:
            return
        shape = inputs[self._first_input].shape
        if shape[0] > MAX_ROWS:
            return
        key = (shape, outputs)
        bindable = all(array.dtype != object and array.shape[:1] == shape[:1] for array in results.values())
        if key in self._unbindable or not bindable:
            return
        if key not in self._free and len(self._free) >= _MAX_KEYS:
            return
        try:
            binding = Binding(self._session, inputs, results)
        except self._errors:
            self._unbindable.add(key)
            return
        self._free.setdefault(key, []).append(binding)


def _only_rows_vary(tensor: Tensor) -> bool:
    """Return whether the first size is open and no other, and the values are numbers."""
    first, *rest = tensor.shape or (1,)
    return isinstance(first, str) and tensor.dtype != "string" and all(isinstance(size, int) for size in rest)
