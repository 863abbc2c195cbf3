"""Samples of a PyTorch module: one array, a dict or a tuple of them, or a list of such calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from lading.convert.table import make_table
from lading.convert.torch_calls import ModuleCall
from lading.signature import Array

Tensors = dict[str, Any]

_HINT = "pass an array for the only input, a dict by the names of `forward`, or a tuple"


def read_calls(samples: Any, call: ModuleCall) -> tuple[list[Tensors], tuple[str, ...]]:
    """Return the tensors of each call by input, and the names of columns; raises `SamplesRefused`.

    A list of arrays, dicts or tuples is several calls, whose sizes may differ. Numbers of numpy get the
    float dtype of the module, those of torch keep theirs.
    """
    if samples is None:
        raise call.refused("rows like those of training", "none", _HINT)
    if (
        isinstance(samples, list)
        and samples
        and isinstance(samples[0], dict | tuple | torch.Tensor | np.ndarray)
    ):
        calls = [_read(each, call) for each in samples]
        for other in calls:
            _check_same(calls[0], other, call)
        return calls, ()
    columns: tuple[str, ...] = ()
    if hasattr(samples, "to_numpy") and hasattr(samples, "columns"):
        names = [str(name) for name in samples.columns]
        parameters = [parameter.name for parameter in call.parameters]
        if len(parameters) == 1 or not set(names) <= set(parameters):
            table = make_table(samples, call.title)
            columns = tuple(table.arrays)
            samples = np.column_stack(list(table.arrays.values()))  # [rows, columns]
        else:
            samples = {name: samples[name].to_numpy() for name in samples.columns}
    return [_read(samples, call)], columns


def arrays_of(tensors: Mapping[str, Any]) -> dict[str, Array]:
    """Return tensors as arrays; bfloat16, which numpy has not, as the float32 of the same value."""
    return {
        name: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        for name, tensor in tensors.items()
    }


def tensors_of(arrays: Mapping[str, Array], dtypes: Mapping[str, Any]) -> Tensors:
    """Return arrays as tensors of these dtypes."""
    return {name: torch.from_numpy(np.array(array)).to(dtypes[name]) for name, array in arrays.items()}


def _read(samples: Any, call: ModuleCall) -> Tensors:
    if isinstance(samples, Mapping):
        values = {str(name): value for name, value in samples.items()}
    elif isinstance(samples, tuple):
        values = call.bind(samples)
    else:
        values = call.bind((samples,))
    call.check_names(list(values))
    tensors = {name: _tensor(name, value, call) for name, value in values.items()}
    if any(tensor.numel() == 0 for tensor in tensors.values()):
        raise call.refused("at least one row", "none")
    return tensors


def _tensor(name: str, value: Any, call: ModuleCall) -> Any:
    if isinstance(value, torch.Tensor):
        if value.is_sparse or value.is_quantized or value.is_complex():
            raise call.refused(f"a dense tensor of numbers for `{name}`", f"{value.dtype}, {value.layout}")
        return value.detach().cpu().contiguous()
    if value is None or isinstance(value, bool | int | float | str):
        hint = "leave it out and give `forward` a default, or pass a tensor: `torch.tensor(…)`"
        raise call.refused(f"a tensor for `{name}`", f"`{value!r}`", hint)
    array = np.asarray(value)
    if array.dtype.kind in "OUS":
        hint = "pass the ids of texts, or pack a model of transformers with its `tokenizer`"
        raise call.refused(f"numbers for `{name}`", "texts or objects", hint)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise call.refused(f"numbers for `{name}`", f"`{array.dtype}`")
    tensor = torch.from_numpy(np.array(array))
    return tensor.to(call.float_dtype) if array.dtype.kind == "f" else tensor


def _check_same(first: Tensors, other: Tensors, call: ModuleCall) -> None:
    """Check that two calls have the same inputs, of the same dtypes and axes."""
    for name, tensor in first.items():
        if name not in other or len(other) != len(first):
            expected = ", ".join(f"`{known}`" for known in first)
            raise call.refused(f"the inputs {expected} in every call", ", ".join(f"`{own}`" for own in other))
        if (tensor.dtype, tensor.ndim) != (other[name].dtype, other[name].ndim):
            expected = f"{tensor.dtype} with {tensor.ndim} axes for `{name}` in every call"
            raise call.refused(expected, f"{other[name].dtype} with {other[name].ndim}")
