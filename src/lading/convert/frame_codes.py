"""Categories of a data frame (dtype ``category``) as the codes that a booster was trained on.

Boosters keep the values of each column of categories and learn from codes, their places in that list. Here
the values become codes again, as a step in front of the booster. Knows no framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from lading.convert.column_nodes import ELEMENTS, ColumnNodes, Value, float_kind, tensor_type, values_of
from lading.convert.sklearn_encoders import Numbers, add_category_number
from lading.convert.table import MISSING_TEXT_HINT, Table, is_missing
from lading.errors import ConverterFailed, SamplesRefused
from lading.signature import Array

_MISSING = -1
_EMPTY_HINT = "train with another text in the place of the empty one: that stands for a missing value"
_HINT = "pass a data frame with the dtypes of training: .parquet files keep them"


@dataclass(frozen=True)
class FrameCategories:
    """The values of each column of categories that a booster was trained on.

    ``columns`` are the places of these columns; None if only the samples show them, by their dtypes.
    ``refuses_unknown`` is whether other values are refused; else they are answered as missing ones.
    ``takes_missing`` is whether texts may be missing. ``passed`` are the columns of the data frame that reach
    the booster behind a step, "" where the step made a column; None if there is no step.
    """

    values: tuple[tuple[Any, ...], ...]
    columns: tuple[int, ...] | None
    refuses_unknown: bool
    takes_missing: bool = True
    passed: tuple[str, ...] | None = None

    def named(self, table: Table, title: str) -> dict[str, tuple[Any, ...]]:
        """Return the values by the name of the column; raises `SamplesRefused` if samples have others."""
        names = list(table.arrays) if self.passed is None else list(self.passed)
        if self.columns is not None and table.kind == "frame":
            return {names[at]: own for at, own in zip(self.columns, self.values, strict=True)}
        by_dtype = [name for name in names if name and _is_category(table, name)]
        if table.kind == "frame" and len(by_dtype) == len(self.values):
            return dict(zip(by_dtype, self.values, strict=True))
        listed = ", ".join(f"`{name}`" for name in by_dtype) or "none"
        raise SamplesRefused(
            f"samples of `{title}`",
            expected=f"a data frame with {len(self.values)} columns of categories, as in training",
            found=listed if table.kind == "frame" else "an array",
            hint=_HINT,
        )

    def behind(self, passed: tuple[str, ...]) -> FrameCategories | None:
        """Return the same behind a step that passes columns through; None if it made one with categories."""
        made = self.columns is not None and not all(passed[at] for at in self.columns)
        return None if made else replace(self, passed=passed)

    def read(self, table: Table, title: str) -> Table:
        """Return the table with its columns of categories: their dtypes, and what may be drawn for them."""
        values = self.named(table, title)
        if not self.takes_missing:
            return replace(
                table, categories={**table.categories, **{(name, 0): own for name, own in values.items()}}
            )
        blank = {name for name, own in values.items() if _has_texts(table, name) and "" not in own}
        categories = {(name, 0): (*own, "") if name in blank else own for name, own in values.items()}
        for name in sorted(table.blank - blank):
            own = name in values
            raise SamplesRefused(
                f"samples of `{title}`, column `{name}`",
                expected="texts only, since the empty text is a category there" if own else "texts only",
                found="a missing value",
                hint=_EMPTY_HINT if own else MISSING_TEXT_HINT,
            )
        table = table.with_categories(values)
        return replace(table, categories={**table.categories, **categories}, blank=frozenset(blank))

    def check(self, table: Table, title: str) -> None:
        """Raise `SamplesRefused` for a value that no category has, where those are refused."""
        for name, own in self.named(table, title).items() if self.refuses_unknown else ():
            known = {*own, ""} if name in table.blank else set(own)
            other = (value for value in table.arrays[name].tolist() if not is_missing(value))
            unknown = next((value for value in other if value not in known), None)
            if unknown is not None:
                raise SamplesRefused(
                    f"samples of `{title}`, column `{name}`",
                    expected="categories of training",
                    found=f"`{unknown}`",
                )


class FrameCodes(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The step that makes codes of the values in some columns, and keeps the others.

    A missing value is NaN, as is one that no category has, unless that is refused.
    """

    def __init__(self, values: Mapping[int, tuple[Any, ...]], width: int, *, refuses_unknown: bool) -> None:
        self.values = values
        self.width = width
        self.refuses_unknown = refuses_unknown

    def fit(self, X: Any, y: Any = None) -> FrameCodes:  # noqa: ARG002, N803 - scikit-learn asks it of a step
        """Return itself: there is nothing to learn."""
        return self

    def transform(self, rows: Any) -> Array:
        """Return numbers as they are: what is finite stays so, or becomes NaN, which boosters take."""
        return np.asarray(rows)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def codes_shape(operator: Any) -> None:
    """Declare the output of the step."""
    operator.outputs[0].type = tensor_type(float_kind(operator.scope_inst), operator.raw_operator.width)


def convert_codes(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of the step; raises `ConverterFailed` for categories that a tensor cannot hold."""
    graph, step = ColumnNodes(scope, container), operator.raw_operator
    codes_shape(operator)
    kind = ELEMENTS[float_kind(operator.scope_inst)]
    columns = [(value, at) for value in values_of(operator) for at in range(value.width)]
    if len(columns) != step.width:
        raise ConverterFailed(
            f"`{type(step).__name__}`", expected=f"{step.width} columns", found=f"{len(columns)}"
        )
    parts = []
    for place, (value, at) in enumerate(columns):
        name = value.name if value.width == 1 else graph.columns(value.name, [at])  # [batch, 1]
        if place in step.values:
            name = _codes(graph, Value(name, value.kind, 1), step, place)
        parts.append(graph.node("Cast", [name], to=kind))
    graph.joined(parts, output=operator.outputs[0].full_name)


def _codes(graph: ColumnNodes, column: Value, step: FrameCodes, place: int) -> str:
    """Return the codes of one column, ``[batch, 1]`` of float64."""
    own = list(step.values[place])
    numbers = list(range(len(own)))
    if column.kind != "string":
        own, numbers = [*own, np.nan], [*numbers, _MISSING]
    elif "" not in own:  # texts cannot be missing: the empty one stands for it
        own, numbers = [*own, ""], [*numbers, _MISSING]
    known = Numbers(
        np.array(own, dtype=object), np.array(numbers), None if step.refuses_unknown else _MISSING
    )
    codes = graph.double(add_category_number(graph, column, known, f"column {place} of categories"))
    missing = graph.node("Less", [codes, graph.constant(np.float64(0.0))])
    return graph.node("Where", [missing, graph.constant(np.float64(np.nan)), codes])


def _is_category(table: Table, name: str) -> bool:
    """Return whether a column has categories: by its dtype, or because a booster takes no other texts."""
    return hasattr(table.pandas_dtypes[name], "categories") or _has_texts(table, name)


def _has_texts(table: Table, name: str) -> bool:
    return table.arrays[name].dtype.kind == "O"
