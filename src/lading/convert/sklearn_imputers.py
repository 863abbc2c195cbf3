"""`SimpleImputer` and `MissingIndicator` as graphs: what is missing is marked, and replaced where it is.

skl2onnx 1.20 writes the operator `Imputer`, which ONNX Runtime has for float32 and int64 only, ignores
`add_indicator`, and knows no `MissingIndicator`. What is filled in is asked of the fitted imputer itself.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from lading.convert.column_nodes import (
    ELEMENTS,
    ColumnNodes,
    Value,
    joined_kind,
    joined_value,
    tensor_type,
)
from lading.convert.graph_nodes import BOOL, DOUBLE, FLOAT
from lading.errors import ConverterFailed
from lading.onnx_runtime.refusals import Refused
from lading.signature import Array


def simple_imputer_shape(operator: Any) -> None:
    """Declare the output of a `SimpleImputer`: its columns, and those of its indicator."""
    imputer, (kind, _) = operator.raw_operator, joined_kind(operator)
    fills = _fills(imputer)
    width = len(fills) + len(indicated_columns(imputer))
    operator.outputs[0].type = tensor_type(_kind_of_output(imputer, kind, fills), width)


def convert_simple_imputer(scope: Any, operator: Any, container: Any) -> None:
    """Convert a `SimpleImputer` of numbers or of texts; raises `ConverterFailed`."""
    graph, imputer = ColumnNodes(scope, container), operator.raw_operator
    value = joined_value(graph, operator)
    fills, indicated = _fills(imputer), indicated_columns(imputer)
    _check_fills(value, fills, indicated)
    kind = _kind_of_output(imputer, value.kind, fills)
    missing = missing_mask(graph, value, imputer.missing_values)
    name, kept = value.name, _kept_columns(imputer)
    mask = missing
    if len(kept) < value.width:
        name, mask = graph.columns(name, kept), graph.columns(missing, kept)
    if kind != value.kind:
        name = graph.node("Cast", [name], to=ELEMENTS[kind])
    dtype = object if kind == "string" else np.dtype(kind)
    constant = graph.constant(fills.astype(dtype).reshape(1, -1))  # [1, columns]
    filled = graph.node("Where", [mask, constant, name])
    parts = [filled]
    if len(indicated):
        parts.append(graph.node("Cast", [graph.columns(missing, indicated)], to=ELEMENTS[kind]))
    graph.joined(parts, output=operator.outputs[0].full_name)


def missing_indicator_shape(operator: Any) -> None:
    """Declare the output of a `MissingIndicator`: numbers 0 and 1."""
    kind = "float64" if joined_kind(operator)[0] == "float64" else "float32"
    operator.outputs[0].type = tensor_type(kind, len(operator.raw_operator.features_))


def convert_missing_indicator(scope: Any, operator: Any, container: Any) -> None:
    """Convert a `MissingIndicator`."""
    graph, indicator = ColumnNodes(scope, container), operator.raw_operator
    value = joined_value(graph, operator)
    missing = missing_mask(graph, value, indicator.missing_values)
    marked = graph.columns(missing, indicator.features_)
    if _raises_for_others(indicator):
        marked = _without_others(graph, missing, marked, indicator, value.width)
    to = DOUBLE if value.kind == "float64" else FLOAT
    graph.node("Cast", [marked], to=to, output=operator.outputs[0].full_name)


def missing_mask(graph: ColumnNodes, value: Value, placeholder: Any) -> str:
    """Mark what is missing, ``[batch, columns]`` of booleans."""
    if value.kind == "string":
        # Texts have no None and no NaN: then only the text that stands for it is missing.
        keys = {placeholder: 1} if isinstance(placeholder, str) else {"": 0}
        table: dict[str, Any] = {"keys_strings": list(keys), "values_int64s": list(keys.values())}
        return graph.node(
            "Cast", [graph.node("LabelEncoder", [value.name], default_int64=0, **table)], to=BOOL
        )
    if is_nan(placeholder) and value.dtype.kind == "f":
        return graph.node("IsNaN", [value.name])
    # No integer is missing where NaN stands for it, or a fraction.
    wanted = np.array([0 if is_nan(placeholder) else placeholder]).astype(value.dtype)
    equal = graph.node("Equal", [value.name, graph.constant(wanted)])
    if is_nan(placeholder) or (value.kind == "int64" and wanted[0] != placeholder):
        return graph.node("And", [equal, graph.node("Not", [equal])])
    return equal


def _raises_for_others(indicator: Any) -> bool:
    return bool(indicator.error_on_new) and indicator.features == "missing-only"


def _without_others(graph: ColumnNodes, missing: str, marked: str, indicator: Any, width: int) -> str:
    """Refuse a row that misses a value in a column that never did in training, as the indicator does."""
    others = np.setdiff1d(np.arange(width), indicator.features_)
    if not len(others) or is_nan(indicator.missing_values):
        return marked  # NaN in such a column is refused by the signature, where packing asked the indicator
    ones = graph.refusing(graph.columns(missing, others), Refused.NEW_MISSING, type(indicator).__name__)
    return graph.node("And", [marked, graph.node("Cast", [ones], to=BOOL)])


def is_nan(value: Any) -> bool:
    """Return whether a value is NaN, or pandas' NA, which is as little itself."""
    number = isinstance(value, float | np.floating) and bool(np.isnan(value))
    return number or type(value).__name__ == "NAType"


def indicated_columns(imputer: Any) -> Array:
    """Return the columns that the indicator of an imputer marks."""
    indicator = getattr(imputer, "indicator_", None)
    return np.zeros(0, dtype=int) if indicator is None else np.asarray(indicator.features_)


def _kept_columns(imputer: Any) -> list[int]:
    """Return the columns that the imputer keeps: not those without any value in training."""
    fills = imputer.statistics_
    return [at for at, fill in enumerate(fills) if imputer.keep_empty_features or not is_nan(fill)]


def _fills(imputer: Any) -> Array:
    """Ask the imputer what it puts in the place of a missing value, column by column."""
    placeholder = imputer.missing_values
    texts = isinstance(placeholder, str) or placeholder is None
    texts = texts or any(isinstance(fill, str) for fill in imputer.statistics_)
    value = np.nan if is_nan(placeholder) else placeholder
    row = np.full((1, len(imputer.statistics_)), value, dtype=object if texts else np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of columns left out, and of missing column names
        answer = imputer.transform(row)
    answer = np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer)
    return np.asarray(answer[0, : len(_kept_columns(imputer))])


def _kind_of_output(imputer: Any, kind: str, fills: Array) -> str:
    if kind != "int64":
        return kind
    whole = imputer.strategy in ("most_frequent", "constant") and fills.dtype.kind in "iufO"
    return "int64" if whole and all(float(fill).is_integer() for fill in fills) else "float32"


def _check_fills(value: Value, fills: Array, indicated: Array) -> None:
    """Refuse what would mix texts and numbers in one tensor."""
    kinds = {isinstance(fill, str) for fill in fills}
    text_fills = True in kinds
    if value.kind == "string" and len(indicated):
        raise ConverterFailed(
            "`SimpleImputer` of texts",
            expected="no `add_indicator`: texts and numbers are no tensor",
            found="add_indicator=True",
            hint="use a MissingIndicator beside it, in a FeatureUnion or a ColumnTransformer",
        )
    if len(kinds) > 1 or text_fills != (value.kind == "string"):
        raise ConverterFailed(
            "`SimpleImputer`",
            expected=f"columns of one kind, `{value.kind}`",
            found="fills that are texts" if text_fills else "fills that are numbers",
            hint="use one SimpleImputer for the columns of numbers and one for those of texts",
        )
