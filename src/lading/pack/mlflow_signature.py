"""MLflow's signature of a model, held against samples and against the signature that lading finds.

A name or a kind of value that differs is refused, because callers rely on it; a size or a width that differs
is a note. What both say is in the sentence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lading.errors import ConverterFailed, one_line
from lading.signature import DTYPES, Signature, Tensor

# MLflow's types of columns, as numpy has them; what is not here no tensor holds.
_OF_COLUMNS = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "str",
}
_OTHER = "other"
_OF_TENSORS = frozenset((*DTYPES, "str", "object"))
FIX_HINT = (
    "state what the model really takes and answers: `mlflow.models.set_signature(path,"
    " mlflow.models.infer_signature(X, model.predict(X)))`"
)


@dataclass(frozen=True)
class Field:
    """A column or tensor of MLflow's; ``dtype`` is numpy's, ``shape`` None for a column."""

    name: str | None
    stated: str
    dtype: str
    required: bool = True
    shape: tuple[int, ...] | None = None

    @property
    def kind(self) -> str:
        """What its values are: ``text``, ``boolean`` or ``number``, or ``other`` that no tensor holds."""
        return kind_of(self.dtype)

    def __str__(self) -> str:
        named = "" if self.name is None else f"{self.name}: "
        return f"`{named}{self.stated}{'' if self.shape is None else f' {list(self.shape)}'}`"


@dataclass(frozen=True)
class MlflowSignature:
    """What MLflow says of inputs, outputs and parameters; None if it says nothing."""

    inputs: tuple[Field, ...] | None = None
    outputs: tuple[Field, ...] | None = None
    params: tuple[str, ...] = ()

    @property
    def has_columns(self) -> bool:
        """Whether inputs are columns of a data frame."""
        return bool(self.inputs) and all(field.shape is None for field in self.inputs or ())


def read_signature(stated: Any, where: str) -> MlflowSignature:
    """Return the signature in an ``MLmodel`` file; raises `ConverterFailed`."""
    if stated is None:
        return MlflowSignature()
    where = f"{where}, `signature` of `MLmodel`"
    if not isinstance(stated, Mapping):
        raise ConverterFailed(where, expected="an object", found=f"`{type(stated).__name__}`")
    params = _listed(stated, "params", where) or []
    names = tuple(str(param.get("name")) for param in params)
    return MlflowSignature(_fields(stated, "inputs", where), _fields(stated, "outputs", where), names)


def kind_of(dtype: str) -> str:
    """Return what values of a dtype are to callers: ``text``, ``boolean``, ``number`` or ``other``."""
    if dtype in ("str", "string", "object"):
        return "text"
    if dtype == _OTHER:
        return _OTHER
    return "boolean" if dtype == "bool" else "number"


def compare_outputs(
    mlflow: MlflowSignature, where: str, note: Callable[[str], None], signature: Signature
) -> None:
    """Hold MLflow's outputs against those of a bundle; raises `ConverterFailed` if no output is like them.

    A bundle may have more outputs than MLflow's `predict`: probabilities beside the label.
    """
    # By kind and not by name: MLflow names outputs by the model's answer, a bundle by what they mean.
    for field in mlflow.outputs or ():
        if field.kind == _OTHER:
            note(f"MLflow's signature says that {where} answers {field}, which no tensor holds")
            continue
        alike = [tensor for tensor in signature.outputs if kind_of(tensor.dtype) == field.kind]
        listed = ", ".join(f"`{tensor.name}: {tensor}`" for tensor in signature.outputs)
        if not alike:
            raise ConverterFailed(
                f"the outputs of {where}",
                expected=f"{field}, as MLflow's signature says",
                found=listed,
                hint=FIX_HINT,
            )
        if field.shape is not None and not any(_same_sizes(field.shape, tensor) for tensor in alike):
            note(f"MLflow's signature says that {where} answers {field}, the bundle answers {listed}")


def _same_sizes(stated: tuple[int, ...], tensor: Tensor) -> bool:
    sizes = tensor.shape
    # A column of values is the same answer as a list of them.
    stated = stated[:-1] if len(stated) == len(sizes) + 1 and stated[-1:] == (1,) else stated
    return len(stated) == len(sizes) and all(
        theirs == -1 or isinstance(ours, str) or theirs == ours
        for theirs, ours in zip(stated, sizes, strict=True)
    )


def _listed(stated: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]] | None:
    value = stated.get(key)
    if value is None:
        return None
    try:
        # JSON within YAML, as MLflow writes it.
        listed = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError) as error:
        raise ConverterFailed(f"{where}, `{key}`", expected="JSON", found=one_line(error)) from error
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise ConverterFailed(f"{where}, `{key}`", expected="a list of objects", found="another value")
    return listed


def _fields(stated: Mapping[str, Any], key: str, where: str) -> tuple[Field, ...] | None:
    listed = _listed(stated, key, where)
    return None if listed is None else tuple(_field(each, f"{where}, `{key}`") for each in listed)


def _field(stated: Mapping[str, Any], where: str) -> Field:
    name = None if stated.get("name") is None else str(stated["name"])
    of = where if name is None else f"{where}, `{name}`"
    kind = stated.get("type")
    if kind == "tensor":
        return _tensor(name, stated.get("tensor-spec"), of)
    title = kind if isinstance(kind, str) else "object"
    # Before MLflow 2.6 it was called `optional`.
    required = bool(stated.get("required", not stated.get("optional", False)))
    return Field(name, title, _OF_COLUMNS.get(title, _OTHER), required=required)


def _tensor(name: str | None, spec: Any, where: str) -> Field:
    dtype = str(spec.get("dtype")) if isinstance(spec, Mapping) else ""
    shape = spec.get("shape") if isinstance(spec, Mapping) else None
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise ConverterFailed(where, expected="a shape, a list of sizes", found=f"`{shape}`")
    return Field(name, dtype, dtype if dtype in _OF_TENSORS else _OTHER, shape=tuple(shape))
