"""A PyTorch module as it is called: by named tensors, in eval mode, its outputs as named arrays.

The module is left as it was: training flags, buffers, device, gradients and the state of random numbers.
Exports nothing.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from lading.errors import ConverterFailed, SamplesRefused, one_line
from lading.signature import Array

ONLY = "value"
"""The name of the output of a module that has one without a name."""

_CHUNK = 64  # rows a run of samples: activations may take thousands of times their memory
_ROWS_ALONE = 4


class ModuleCall:
    """One module, and how it is called."""

    def __init__(self, module: Any, title: str, *, positional: int | None = None) -> None:
        """Take `module`, or a copy of it on the CPU if it is elsewhere; raises `ConverterFailed`.

        That of a program has no eval mode, and takes its first inputs (``positional``) by their order.
        """
        self.title = title
        self._has_modes = positional is None
        self.module = _on_cpu(module, title)
        self.parameters = _parameters(self.module)
        kinds = (inspect.Parameter.POSITIONAL_ONLY,) if positional is None else ()
        ordered = [p.name for p in self.parameters if p.kind in kinds]
        self._ordered = ordered or [p.name for p in self.parameters[: positional or 0]]
        self.float_dtype = _float_dtype(self.module)
        self._in_chunks: bool | None = None
        self._runs = 0

    def bind(self, values: Sequence[Any]) -> dict[str, Any]:
        """Return the names for tensors that are passed in order; raises `SamplesRefused`."""
        names = self._positional(len(values))
        if len(names) < len(values):
            raise self.refused(f"at most {len(names)} inputs: {_listed(names)}", f"{len(values)}")
        return dict(zip(names, values, strict=False))

    def check_names(self, names: Sequence[str]) -> None:
        """Check that `forward` takes these inputs, and needs no other; raises `SamplesRefused`."""
        kinds = {parameter.kind for parameter in self.parameters}
        free = inspect.Parameter.VAR_KEYWORD in kinds or inspect.Parameter.VAR_POSITIONAL in kinds
        own = [parameter.name for parameter in self.parameters if parameter.kind not in _MANY]
        unknown = [name for name in names if name not in own]
        if unknown and not free:
            raise self.refused(f"the parameters of `forward`: {_listed(own)}", f"`{unknown[0]}`")
        missing = [
            parameter.name
            for parameter in self.parameters
            if parameter.kind not in _MANY
            and parameter.default is inspect.Parameter.empty
            and parameter.name not in names
        ]
        if missing:
            hint = "name every input of `forward`: a dict of arrays, or an .npz file for `--samples`"
            raise self.refused(f"a value for `{missing[0]}` of `forward`", _listed(names), hint)

    def run(self, tensors: Mapping[str, Any]) -> dict[str, Array]:
        """Return the module's own answers as arrays; raises `SamplesRefused`, `ConverterFailed`."""
        # In chunks only where rows are shown to be independent: others have one answer as a whole.
        rows = {len(tensor) for tensor in tensors.values() if tensor.ndim}
        if len(rows) == 1 and min(rows) > _CHUNK and all(tensor.ndim for tensor in tensors.values()):
            if self._in_chunks is None:
                self._in_chunks = self._rows_are_independent(tensors)
            if self._in_chunks:
                return self._joined(tensors, min(rows))
        return self._run(tensors)

    def tensors_of(self, tensors: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return what the module answers, as it is exported."""
        return tuple(tensor for _, tensor in flatten(self._called(tensors), self.title))

    def refused(self, expected: str, found: str, hint: str | None = None) -> SamplesRefused:
        """Return the error of samples that the module does not take."""
        return SamplesRefused(f"samples of `{self.title}`", expected=expected, found=found, hint=hint)

    def _joined(self, tensors: Mapping[str, Any], rows: int) -> dict[str, Array]:
        parts = [
            self._run({name: tensor[start : start + _CHUNK] for name, tensor in tensors.items()})
            for start in range(0, rows, _CHUNK)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _rows_are_independent(self, tensors: Mapping[str, Any]) -> bool:
        few = {name: tensor[:_ROWS_ALONE] for name, tensor in tensors.items()}
        try:
            together = self._run(few)
            alone = [
                self._run({name: tensor[row : row + 1] for name, tensor in few.items()})
                for row in range(_ROWS_ALONE)
            ]
        except SamplesRefused:
            return False
        return all(
            len(array) == _ROWS_ALONE
            and all(part[name].shape == array[:1].shape for part in alone)
            and np.allclose(np.concatenate([part[name] for part in alone]), array, rtol=1e-4, atol=1e-5)
            for name, array in together.items()
        )

    def _run(self, tensors: Mapping[str, Any]) -> dict[str, Array]:
        copies = {name: tensor.clone() for name, tensor in tensors.items()}  # `forward` may change them
        with self.evaluating():
            try:
                answer = self._called(copies)
            except Exception as error:  # a module may raise anything
                where = layer_of(error, self.module)
                reason = f"{where}{type(error).__name__}: {one_line(error)}"
                of_dtypes = any(word in reason for word in ("dtype", "Long", "Float", "Double"))
                hint = (
                    "pass samples of the dtypes that `forward` takes: ids as integers" if of_dtypes else None
                )
                raise self.refused("rows that it takes", reason, hint if of_dtypes else None) from error
            leaves = flatten(answer, self.title)
            self._check_real(leaves)
            return {name: _array(tensor) for name, tensor in leaves}

    def _check_real(self, tensors: Sequence[tuple[str, Any]]) -> None:
        for name, tensor in tensors:
            if tensor.is_complex():
                raise ConverterFailed(
                    f"output `{name}` of `{self.title}`",
                    expected="real numbers",
                    found=f"{tensor.dtype}",
                    hint="return `torch.view_as_real(…)`, or the absolute value",
                )

    def _called(self, tensors: Mapping[str, Any]) -> Any:
        if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in self.parameters):
            return self.module(*tensors.values())
        keywords = {name: tensor for name, tensor in tensors.items() if name not in self._ordered}
        return self.module(*(tensors[name] for name in self._ordered if name in tensors), **keywords)

    def _positional(self, count: int) -> list[str]:
        names = [parameter.name for parameter in self.parameters if parameter.kind not in _MANY]
        for parameter in self.parameters:
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                names += [f"{parameter.name}_{at}" for at in range(count - len(names))]
        return names

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Put the module into eval mode, and then back; raises `ConverterFailed` if a run changed it."""
        module = self.module
        flags = [(part, part.training) for part in module.modules()]
        buffers = {name: (buffer, buffer.clone()) for name, buffer in module.named_buffers()}
        try:
            if self._has_modes:
                module.eval()
            with torch.no_grad(), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._runs += 1
                torch.manual_seed(self._runs)  # another one each time, so that chance shows
                yield
            changed = _changed(module, buffers)
        finally:
            for part, flag in flags:
                part.training = flag
            _restore(module, buffers)
        if changed is not None:
            raise ConverterFailed(
                f"`{self.title}`",
                expected="the same state after a call",
                found=f"`{changed}`, which `forward` changes",
                hint="return it as an output, and take it as an input: a served model has no memory",
            )


def flatten(value: Any, title: str) -> list[tuple[str, Any]]:
    """Return the tensors in what a module answers, with their names; raises `ConverterFailed`."""
    leaves = list(_leaves(value, (), title))
    if not leaves:
        raise ConverterFailed(f"`{title}`", expected="an output", found="none")
    if len(leaves) == 1 and not any(isinstance(part, str) for part in leaves[0][0]):
        return [(ONLY, leaves[0][1])]
    named = [
        (
            "_".join(map(str, path)) if any(isinstance(part, str) for part in path) else f"output_{at}",
            tensor,
        )
        for at, (path, tensor) in enumerate(leaves)
    ]
    names = [name for name, _ in named]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConverterFailed(
            f"`{title}`",
            expected="outputs of different names",
            found=f"`{twice}` twice",
            hint="rename a key of what `forward` returns",
        )
    return named


def layer_of(error: BaseException, module: Any) -> str:
    """Return ``layer `NAME` (KIND): `` for the innermost layer in which the error was raised, or nothing."""
    names = {id(part): name for name, part in module.named_modules() if name}
    layer, traceback = "", error.__traceback__
    while traceback is not None:
        owner = traceback.tb_frame.f_locals.get("self")
        if isinstance(owner, torch.nn.Module) and id(owner) in names:
            layer = f"layer `{names[id(owner)]}` ({type(owner).__name__}): "
        traceback = traceback.tb_next
    return layer


def _leaves(
    value: Any, path: tuple[str | int, ...], title: str
) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    parts: list[tuple[str | int, Any]]
    if isinstance(value, torch.Tensor):
        yield path, value
        return
    # What a module leaves out, such as the loss without labels.
    if value is None:
        return
    if isinstance(value, Mapping):
        parts = [(str(key), part) for key, part in value.items()]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    elif isinstance(value, tuple) and (names := getattr(value, "_fields", None)):  # of a named tuple
        parts = list(zip(names, value, strict=True))
    elif isinstance(value, tuple | list):
        parts = list(enumerate(value))
    else:
        where = f"output `{'_'.join(map(str, path))}` of `{title}`" if path else f"the output of `{title}`"
        raise ConverterFailed(
            where,
            expected="tensors, or dicts, tuples, lists and dataclasses of them",
            found=f"`{type(value).__qualname__}`",
            hint="let `forward` return tensors: a number becomes one with `torch.tensor`",
        )
    for key, part in parts:
        yield from _leaves(part, (*path, key), title)


def _array(tensor: Any) -> Array:
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()  # which holds every bfloat16
    if tensor.is_sparse:
        tensor = tensor.to_dense()
    return np.array(tensor.resolve_conj().resolve_neg().numpy())


def _on_cpu(module: Any, title: str) -> Any:
    if any(torch.nn.parameter.is_lazy(tensor) for _, tensor in _state(module)):
        raise ConverterFailed(
            f"`{title}`",
            expected="parameters with values",
            found="lazy ones, which the first call makes",
            hint="train it, or call it once",
        )
    devices = {tensor.device.type for _, tensor in _state(module)}
    if "meta" in devices:
        raise ConverterFailed(
            f"`{title}`",
            expected="parameters with values",
            found="some on the device `meta`, which has none",
            hint="load the weights first",
        )
    # A copy, because to move a module and back would change what an optimizer holds.
    return copy.deepcopy(module).cpu() if devices - {"cpu"} else module


def _parameters(module: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(module.forward).parameters.values())


def _float_dtype(module: Any) -> Any:
    """Return the dtype of the module's numbers; torch's default if it has none or several."""
    # numpy's own default is float64, which a module of float32 refuses.
    dtypes = {tensor.dtype for _, tensor in _state(module) if tensor.is_floating_point()}
    return dtypes.pop() if len(dtypes) == 1 else torch.get_default_dtype()


def _state(module: Any) -> Iterator[tuple[str, Any]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _changed(module: Any, buffers: Mapping[str, Any]) -> str | None:
    """Return a buffer that is another, or has other values, than before; None if there is none."""
    for name, tensor in module.named_buffers():
        before = buffers.get(name)
        if before is None or before[0] is not tensor or not _same(*before):
            return str(name)
    return None


def _restore(module: Any, buffers: Mapping[str, Any]) -> None:
    for name, (buffer, value) in buffers.items():
        owner, _, own = name.rpartition(".")
        part = module.get_submodule(owner)
        if getattr(part, own) is not buffer:
            setattr(part, own, buffer)
        if not _same(buffer, value):
            buffer.copy_(value)


def _same(tensor: Any, other: Any) -> bool:
    if not tensor.is_floating_point():
        return bool(torch.equal(tensor, other))
    return bool(torch.equal(tensor.nan_to_num(), other.nan_to_num()))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


_MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
