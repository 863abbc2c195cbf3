"""`OneHotEncoder`, `OrdinalEncoder` and `TargetEncoder` as graphs: a category is looked up, column by column.

The outputs of each category, of a missing one and of an unknown one are asked of the fitted encoder itself:
dropped, infrequent and missing categories need no rule here but for how many outputs a column has. skl2onnx
1.20 cuts fractions off, takes the text "None" for a missing one, answers -1 where the encoder refuses, and
knows some parameters only in part.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.preprocessing import OneHotEncoder

from lading.convert.column_nodes import ELEMENTS, ColumnNodes, Value, float_kind, tensor_type, values_of
from lading.convert.graph_nodes import INT64
from lading.convert.table import is_missing
from lading.errors import ConverterFailed
from lading.onnx_runtime.refusals import Refused
from lading.signature import Array

_UNSEEN_TEXT = "lading: a category that was never seen"
_ASKED_ROWS = 256
_REFUSED = -2  # the number of a value that fails the run


@dataclass(frozen=True)
class Codes:
    """What an encoder makes of the categories of one column.

    ``values`` are the outputs of each category, ``[categories, width]``, or of a one-hot encoder the index of
    the output that is 1, ``[categories]``, -1 if none is. ``unknown`` is the same for any other value, and
    None if the encoder refuses it.
    """

    categories: Array
    values: Array
    unknown: Array | None
    width: int


def encoder_shape(operator: Any) -> None:
    """Declare the output of an encoder."""
    encoder = operator.raw_operator
    whole = np.issubdtype(np.dtype(getattr(encoder, "dtype", np.float64)), np.integer)
    kind = "int64" if whole else float_kind(operator.scope_inst)
    operator.outputs[0].type = tensor_type(kind, len(encoder.get_feature_names_out()))


def convert_encoder(scope: Any, operator: Any, container: Any) -> None:
    """Convert an encoder of categories; raises `ConverterFailed` for what a tensor cannot hold."""
    graph, encoder = ColumnNodes(scope, container), operator.raw_operator
    output = operator.outputs[0]
    encoder_shape(operator)
    kind = next(name for name in ELEMENTS if tensor_type(name, 1).__class__ is output.type.__class__)
    columns = [(value, at) for value in values_of(operator) for at in range(value.width)]
    if len(columns) != len(encoder.categories_):
        raise ConverterFailed(
            f"`{type(encoder).__name__}`",
            expected=f"{len(encoder.categories_)} columns",
            found=f"{len(columns)}",
        )
    hot = isinstance(encoder, OneHotEncoder)
    parts: list[str] = []
    for (value, at), codes in zip(columns, _codes_of(encoder), strict=True):
        column = value.name if value.width == 1 else graph.columns(value.name, [at])  # [batch, 1]
        single = Value(column, value.kind, 1)
        where = f"`{type(encoder).__name__}`, column {len(parts)}"
        part = (_hot if hot else _looked_up)(graph, single, codes, where)
        parts.append(graph.node("Cast", [part], to=ELEMENTS[kind]))
    graph.joined(parts, output=output.full_name)


def _hot(graph: ColumnNodes, column: Value, codes: Codes, where: str) -> str:
    """Return the outputs of one column, ``[batch, width]`` of 0 and 1."""
    other = None if codes.unknown is None else int(codes.unknown)
    place = add_category_number(graph, column, Numbers(codes.categories, codes.values, other), where)
    width = max(1, codes.width)
    one_hot = graph.node("OneHotEncoder", [place], cats_int64s=list(range(width)), zeros=1)
    flat = graph.node("Reshape", [one_hot, graph.constant(np.array([-1, width]))])
    if codes.width:
        return flat
    # Of a column that is dropped as a whole, only the refusal of others is left.
    return graph.node("Slice", [flat, graph.axis(0), graph.axis(0), graph.axis(1)])


def _looked_up(graph: ColumnNodes, column: Value, codes: Codes, where: str) -> str:
    """Return the outputs of one column, ``[batch, width]`` of float64."""
    count, width = len(codes.categories), codes.width
    other = None if codes.unknown is None else count
    place = add_category_number(graph, column, Numbers(codes.categories, np.arange(count), other), where)
    unknown = np.zeros(width) if codes.unknown is None else codes.unknown
    table = graph.constant(np.vstack([codes.values, unknown]).astype(np.float64))  # [categories + 1, width]
    return graph.node(
        "Reshape", [graph.node("Gather", [table, place]), graph.constant(np.array([-1, width]))]
    )


@dataclass(frozen=True)
class Numbers:
    """The number of each category, and of other values; None if those are refused."""

    categories: Array
    numbers: Array
    other: int | None

    @property
    def default(self) -> int:
        """The number of other values, also where they are refused afterwards."""
        return _REFUSED if self.other is None else self.other


def add_category_number(graph: ColumnNodes, column: Value, numbers: Numbers, where: str) -> str:
    """Return the number of each value's category, ``[batch, 1]`` of int64."""
    place = _place(graph, column, numbers, where)
    if numbers.other is not None:
        return place
    unknown = graph.node("Equal", [place, graph.constant(np.array(_REFUSED))])
    ones = graph.refusing(unknown, Refused.CATEGORY, "encoder")
    return graph.node("Mul", [place, graph.node("Cast", [ones], to=INT64)])


def _place(graph: ColumnNodes, column: Value, numbers: Numbers, where: str) -> str:
    missing = np.array([is_missing(category) for category in numbers.categories], dtype=bool)
    known = Numbers(numbers.categories[~missing], numbers.numbers[~missing], numbers.other)
    texts = column.kind == "string"
    _check_kind(known.categories, where, texts=texts)
    if texts:
        # Texts cannot be missing, so a category that stands for missing ones is never met.
        return _text_place(graph, column, known)
    place = _number_place(graph, column, known, where)
    if missing.any() and column.dtype.kind == "f":
        number = graph.constant(np.array(int(numbers.numbers[missing][-1])))
        return graph.node("Where", [graph.node("IsNaN", [column.name]), number, place])
    return place


def _text_place(graph: ColumnNodes, column: Value, known: Numbers) -> str:
    table = {str(text): int(at) for text, at in zip(known.categories, known.numbers, strict=True)}
    table = table or {_UNSEEN_TEXT: known.default}
    keys: dict[str, Any] = {"keys_strings": list(table), "values_int64s": list(table.values())}
    return graph.node("LabelEncoder", [column.name], default_int64=known.default, **keys)


def _number_place(graph: ColumnNodes, column: Value, known: Numbers, where: str) -> str:
    own = [_number_of(category) for category in known.categories]
    whole = [np.isfinite(number) and number == int(number) and abs(number) < 2**63 for number in own]
    if column.dtype.kind == "f":
        _check_exact(own, column, where)
        if not all(whole):
            return _place_among(graph, column, np.array(own, dtype=column.dtype), known)
    # Among integers a fraction is never met.
    table = {int(number): int(at) for number, at, met in zip(own, known.numbers, whole, strict=True) if met}
    table = table or {0: known.default}
    keys: dict[str, Any] = {"keys_int64s": list(table), "values_int64s": list(table.values())}
    if column.dtype.kind != "f":
        name = column.name if column.kind == "int64" else graph.node("Cast", [column.name], to=INT64)
        return graph.node("LabelEncoder", [name], default_int64=known.default, **keys)
    # A fraction would lose what is behind its point: it is no category, and neither is NaN.
    cut = graph.node("Cast", [column.name], to=INT64)
    place = graph.node("LabelEncoder", [cut], default_int64=known.default, **keys)
    same = graph.node("Equal", [column.name, graph.node("Cast", [cut], to=ELEMENTS[column.kind])])
    return graph.node("Where", [same, place, graph.constant(np.array(known.default))])


def _place_among(graph: ColumnNodes, column: Value, own: Array, known: Numbers) -> str:
    """Compare with every category: no operator of this version looks fractions up exactly."""
    equal = graph.node("Equal", [column.name, graph.constant(own.reshape(1, -1))])  # [batch, categories]
    matches = graph.node("Cast", [equal], to=INT64)
    ranks = graph.constant(np.arange(1, len(own) + 1))
    rank = graph.node("ReduceMax", [graph.node("Mul", [matches, ranks]), graph.axis(1)], keepdims=1)
    by_rank = np.concatenate([[known.default], known.numbers]).astype(np.int64)
    return graph.node("Gather", [graph.constant(by_rank), rank])


def _check_exact(own: Sequence[float], column: Value, where: str) -> None:
    """Refuse categories that the dtype of the column changes: a value near one would be taken for it."""
    changed = [number for number in own if float(column.dtype.type(number)) != number]
    if changed:
        raise ConverterFailed(
            where,
            expected=f"categories that {column.kind} holds exactly",
            found=f"{changed[0]!r}",
            hint="make the categories whole numbers or texts, in training and in requests",
        )


def _number_of(category: Any) -> int | float:
    plain = category.item() if isinstance(category, np.generic) else category
    return int(plain) if isinstance(plain, bool | int) else float(plain)


def _check_kind(known: Array, where: str, *, texts: bool) -> None:
    other = next((category for category in known if isinstance(category, str) != texts), None)
    if other is not None:
        raise ConverterFailed(
            where,
            expected="texts as categories" if texts else "numbers as categories",
            found=f"{other!r}",
            hint="give the samples in the dtypes of training, and each column one kind of value",
        )


def _codes_of(encoder: Any) -> list[Codes]:
    """Ask the encoder for the codes of each category of each column, and of an unknown one."""
    categories = [np.asarray(own).astype(object) for own in encoder.categories_]
    ends = np.cumsum([0, *(_width(encoder, at) for at in range(len(categories)))])
    if ends[-1] != len(encoder.get_feature_names_out()):
        raise ConverterFailed(
            f"`{type(encoder).__name__}`",
            expected=f"{ends[-1]} outputs",
            found=f"{len(encoder.get_feature_names_out())}",
        )
    codes = []
    for at, own in enumerate(categories):
        span = slice(ends[at], ends[at + 1])
        values = np.concatenate(
            [
                _asked(encoder, categories, at, own[first : first + _ASKED_ROWS], span)
                for first in range(0, len(own), _ASKED_ROWS)
            ]
        )
        codes.append(
            Codes(own, values, _code_of_unknown(encoder, categories, at, span), span.stop - span.start)
        )
    return codes


def _code_of_unknown(encoder: Any, categories: Sequence[Array], at: int, span: slice) -> Array | None:
    known = [category for category in categories[at] if not is_missing(category)]
    texts = any(isinstance(category, str) for category in known) or not known
    unseen: Any = _UNSEEN_TEXT if texts else 2.0 * max(abs(float(number)) for number in known) + 1.5
    try:
        return np.asarray(_asked(encoder, categories, at, np.array([unseen], dtype=object), span)[0])
    except ValueError as error:
        if "unknown categor" not in str(error):
            raise
        return None


def _asked(encoder: Any, categories: Sequence[Array], at: int, values: Array, span: slice) -> Array:
    """Return what the encoder makes of `values` in column `at`; of one-hot outputs, which one is 1."""
    rows = np.empty((len(values), len(categories)), dtype=object)
    for column, own in enumerate(categories):
        rows[:, column] = own[0]
    rows[:, at] = values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of missing column names, and of unknown categories
        answer = encoder.transform(rows)
    dense = np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer)
    own_part = dense[:, span].astype(np.float64)
    if not isinstance(encoder, OneHotEncoder):
        return own_part
    if not own_part.shape[1]:
        return np.full(len(values), -1)
    return np.where(own_part.any(axis=1), own_part.argmax(axis=1), -1)


def _width(encoder: Any, at: int) -> int:
    """Return how many outputs a column has."""
    if not isinstance(encoder, OneHotEncoder):
        return len(encoder.classes_) if getattr(encoder, "target_type_", "") == "multiclass" else 1
    width = len(encoder.categories_[at])
    infrequent = getattr(encoder, "infrequent_categories_", None)
    if infrequent is not None and infrequent[at] is not None:
        width -= len(infrequent[at]) - 1
    dropped = encoder.drop_idx_ is not None and encoder.drop_idx_[at] is not None
    return width - int(dropped)
