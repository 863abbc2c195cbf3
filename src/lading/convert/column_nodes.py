"""The columns that our own converters get from skl2onnx, and nodes that work on them. Knows no estimator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from skl2onnx.common.data_types import (
    BooleanTensorType,
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)

from lading.convert.graph_nodes import DOUBLE, FLOAT, INT64, GraphNodes
from lading.errors import ConverterFailed
from lading.signature import Array

ELEMENTS = {"float32": FLOAT, "float64": DOUBLE, "int64": INT64}
"""TensorProto's numbers by the dtypes of a signature."""

_KINDS = (
    (DoubleTensorType, "float64"),
    (FloatTensorType, "float32"),
    (Int64TensorType, "int64"),
    (StringTensorType, "string"),
    (BooleanTensorType, "bool"),
)


@dataclass(frozen=True)
class Value:
    """A tensor ``[batch, width]`` of the graph; ``kind`` is the dtype as a signature names it."""

    name: str
    kind: str
    width: int

    @property
    def dtype(self) -> Any:
        """The numpy dtype of its elements; of texts, that of objects."""
        return np.dtype(object if self.kind == "string" else self.kind)


class ColumnNodes(GraphNodes):
    """Adds nodes that work on columns; each method returns the name of what it made."""

    def columns(self, value: str, at: Sequence[int] | Array) -> str:
        """Return the columns at these indices, ``[batch, len(at)]``."""
        return self.node("Gather", [value, self.constant(np.asarray(at, dtype=np.int64))], axis=1)

    def smallest(self, value: str, count: int) -> tuple[str, str]:
        """Return the `count` smallest values of each row, and their columns."""
        values, columns = (str(self._scope.get_unique_variable_name(name)) for name in ("smallest", "column"))
        self._container.add_node(
            "TopK",
            [value, self.axis(count)],
            [values, columns],
            op_version=18,
            name=self._scope.get_unique_operator_name("TopK"),
            largest=0,
            sorted=1,
        )
        return values, columns

    def joined(self, parts: Sequence[str], *, output: str | None = None) -> str:
        """Put columns side by side."""
        if len(parts) == 1:
            return self.node("Identity", parts, output=output)
        return self.node("Concat", parts, axis=1, output=output)


def values_of(operator: Any) -> list[Value]:
    """Return the inputs of an operator of skl2onnx's; raises `ConverterFailed` if a width is unknown."""
    values = []
    for variable in operator.inputs:
        shape = variable.type.shape
        kind = next((name for kind, name in _KINDS if isinstance(variable.type, kind)), None)
        if kind is None or len(shape) != 2 or not isinstance(shape[1], int):
            raise ConverterFailed(
                f"`{type(operator.raw_operator).__name__}`",
                expected="columns of numbers or of texts",
                found=f"`{type(variable.type).__name__}{list(shape)}`",
            )
        values.append(Value(variable.full_name, kind, shape[1]))
    return values


def joined_kind(operator: Any) -> tuple[str, int]:
    """Return the kind and the width of an operator's inputs side by side; texts and numbers are refused."""
    values = values_of(operator)
    kinds = {value.kind for value in values}
    if "string" in kinds and len(kinds) > 1:
        raise ConverterFailed(
            f"`{type(operator.raw_operator).__name__}`",
            expected="columns of one kind",
            found="columns of texts beside columns of numbers",
            hint="use one for the columns of numbers and one for those of texts, in a ColumnTransformer",
        )
    kind = next(name for name in ("string", "float64", "float32", "int64", "bool") if name in kinds)
    return ("int64" if kind == "bool" else kind), sum(value.width for value in values)


def joined_value(graph: ColumnNodes, operator: Any) -> Value:
    """Return the inputs of an operator as one value."""
    kind, width = joined_kind(operator)
    parts = [
        value.name if value.kind == kind else graph.node("Cast", [value.name], to=ELEMENTS[kind])
        for value in values_of(operator)
    ]
    return Value(parts[0] if len(parts) == 1 else graph.joined(parts), kind, width)


def float_kind(scope: Any) -> str:
    """Return the dtype of floats that are made of integers or texts: that of the floats among the inputs.

    skl2onnx takes the type of several columns side by side from the first of them.
    """
    double = any(isinstance(variable.type, DoubleTensorType) for variable in scope.input_variables)
    return "float64" if double else "float32"


def tensor_type(kind: str, width: int) -> Any:
    """Return skl2onnx's type of a tensor ``[batch, width]``."""
    made = next(type_ for type_, name in _KINDS if name == kind)
    return made([None, width])
