"""Which rows are scored: one expression over the columns of a file, the same for every form of file.

DuckDB reads the expression and computes it; what it may hold is listed here, and nothing else reaches DuckDB:
no subquery, no function that reads, no cast. A column has no type of its own, as the cells of a CSV have
none: what it is compared with says whether it counts as numbers, texts or truth values.
"""

from __future__ import annotations

import difflib
import functools
import json
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from lading.batch.tables import Rows, Span, Table
from lading.errors import InputMissing, UsageError, ValueRefused, missing_extra

NUMBER, TEXT, TRUTH = "number", "text", "truth"
VALUE = "value"
"""Any value: all that `is null` wants to know."""

_COMPARISONS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
}
_ARITHMETIC = frozenset("+-*")
_LIKE = {"~~": "LIKE", "!~~": "NOT LIKE", "~~*": "ILIKE", "!~~*": "NOT ILIKE"}
# Name: what it takes, what it gives.
_FUNCTIONS = {
    "lower": (TEXT, TEXT),
    "upper": (TEXT, TEXT),
    "trim": (TEXT, TEXT),
    "length": (TEXT, NUMBER),
    "abs": (NUMBER, NUMBER),
}
_LITERALS = {
    "INTEGER": NUMBER,
    "NUMERIC": NUMBER,
    "STRING": TEXT,
    "BOOLEAN": TRUTH,
}
_NUMBER_TEXT = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
_MOST_LOOKED_AT = 10_000
_SIMPLE = "a simple expression"
_HINT = (
    "it may hold columns, numbers, 'texts', true and false, = <> < <= > >=, and, or, not, in, between, like, "
    "is null, + - * and lower, upper, trim, length, abs"
)


class _Sql(NamedTuple):
    """Checked text for DuckDB and what it gives; None is a column alone, which its neighbour decides."""

    text: str
    kind: str | None
    column: str = ""


class Where:
    """An expression that has been read. `columns` are those that it looks at, in order."""

    def __init__(self, text: str) -> None:
        """Read the expression. Raises `UsageError` for one that is none, or that may not be."""
        self.text = text.strip()
        # A column that is used as two kinds is two columns of what DuckDB sees.
        self._used: dict[tuple[str, str], str] = {}
        self._checked = self._as(self._sql(_parsed(self.text)), TRUTH)
        self.columns = tuple(dict.fromkeys(column for column, _ in self._used))
        if not self.columns:
            raise self._refusal("a column of the files", "none")

    def check(self, table: Table, where: str, needed: Sequence[str]) -> None:
        """Raise `InputMissing` or `ValueRefused` if a file has not these columns, or not as they are used.

        Of rows that have columns of their own, the first are looked at; the `needed` ones count as known.
        """
        schema = table.schema()
        names = list(schema.names) if schema is not None else [*needed, *_first_names(table)]
        for column, kind in self._used:
            if column not in names:
                near = difflib.get_close_matches(column, names, 1)
                hint = f"did you mean `{near[0]}`?" if near else "names are as in the file, also their case"
                raise InputMissing(
                    where, expected=f"column `{column}`, for `--where`", found="none", hint=hint
                )
            if schema is not None:
                _check_kind(column, schema.field(column).type, kind, where)

    def choose(self, rows: Rows) -> Rows:
        """Return the rows for which the expression is true; lines that are no rows stay what they are."""
        count = len(rows.numbers)
        if not count:
            return rows
        # Names of our own: DuckDB does not distinguish upper and lower case in names, and files do.
        columns = [_converted(rows, column, kind) for column, kind in self._used]
        table = pa.Table.from_arrays(columns, names=list(self._used.values()))
        kept = _ask(self._checked, table)
        # Most often where an expression asks for what a file is sorted by.
        if pc.all(kept).as_py():
            return rows
        objects = rows.objects
        if objects is not None:
            objects = tuple(each for each, keep in zip(objects, kept.to_pylist(), strict=True) if keep)
        batch = rows.batch if rows.objects is not None else rows.batch.filter(kept)
        return msgspec.structs.replace(rows, numbers=rows.numbers.filter(kept), batch=batch, objects=objects)

    def _sql(self, node: dict[str, Any]) -> _Sql:
        readers: dict[str, Callable[[dict[str, Any]], _Sql]] = {
            "COLUMN_REF": self._column,
            "CONSTANT": self._constant,
            "COMPARISON": self._comparison,
            "CONJUNCTION": self._conjunction,
            "OPERATOR": self._operator,
            "BETWEEN": self._between,
            "FUNCTION": self._function,
        }
        reader = readers.get(node["class"])
        if reader is None:
            raise self._refusal(_SIMPLE, f"`{node['class'].lower().replace('_', ' ')}`")
        return reader(node)

    def _column(self, node: dict[str, Any]) -> _Sql:
        names = node["column_names"]
        if len(names) != 1:
            whole = ".".join(names)
            raise self._refusal("columns by one name", f'`{whole}`; if that is a name, write `"{whole}"`')
        return _Sql("", None, str(names[0]))

    def _constant(self, node: dict[str, Any]) -> _Sql:
        literal = node.get("literal") or {}
        kind = _LITERALS.get(literal.get("kind", ""))
        if kind is None:
            raise self._refusal(_SIMPLE, "`null`; `is null` asks for missing values")
        text = str(literal["text"])
        if kind == NUMBER:
            if not math.isfinite(float(text)):
                raise self._refusal("numbers that float64 holds", f"`{text}`")
            return _Sql(f"({float(text)!r}::DOUBLE)", NUMBER)
        quoted = text.replace("'", "''")
        return _Sql(f"'{quoted}'" if kind == TEXT else text, kind)

    def _comparison(self, node: dict[str, Any]) -> _Sql:
        # `IS DISTINCT FROM` is a comparison too, whose nulls are equal: `is null` says that more plainly.
        sign = _COMPARISONS.get(node["type"])
        if sign is None:
            raise self._refusal(_SIMPLE, f"`{node['type'].lower().replace('_', ' ')}`")
        left, right = self._alike([self._sql(node["left"]), self._sql(node["right"])])
        return _Sql(f"({left} {sign} {right})", TRUTH)

    def _conjunction(self, node: dict[str, Any]) -> _Sql:
        word = " AND " if node["type"] == "CONJUNCTION_AND" else " OR "
        return _Sql(f"({word.join(self._as(self._sql(each), TRUTH) for each in node['children'])})", TRUTH)

    def _operator(self, node: dict[str, Any]) -> _Sql:
        kind, parts = node["type"], [self._sql(each) for each in node["children"]]
        if kind == "OPERATOR_NOT":
            return _Sql(f"(NOT {self._as(parts[0], TRUTH)})", TRUTH)
        if kind in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"):
            text = self._as(parts[0], parts[0].kind or VALUE)
            return _Sql(f"({text} IS {'NOT ' if 'NOT' in kind else ''}NULL)", TRUTH)
        if kind in ("COMPARE_IN", "COMPARE_NOT_IN"):
            first, *others = self._alike(parts)
            return _Sql(f"({first} {'NOT ' if 'NOT' in kind else ''}IN ({', '.join(others)}))", TRUTH)
        raise self._refusal(_SIMPLE, f"`{kind.lower().replace('_', ' ')}`")

    def _between(self, node: dict[str, Any]) -> _Sql:
        value, lower, upper = self._alike([self._sql(node[at]) for at in ("input", "lower", "upper")])
        return _Sql(f"({value} BETWEEN {lower} AND {upper})", TRUTH)

    def _function(self, node: dict[str, Any]) -> _Sql:
        name = str(node["function_name"])
        arguments = node.get("arguments") or node.get("children") or []
        parts = [self._sql(each.get("expression", each)) for each in arguments]
        if name in _LIKE and len(parts) == 2:
            left, right = (self._as(part, TEXT) for part in parts)
            return _Sql(f"({left} {_LIKE[name]} {right})", TRUTH)
        if name in _ARITHMETIC and len(parts) in (1, 2):
            texts = [self._as(part, NUMBER) for part in parts]
            return _Sql(
                f"({name}{texts[0]})" if len(texts) == 1 else f"({texts[0]} {name} {texts[1]})", NUMBER
            )
        if name in _FUNCTIONS and len(parts) == 1:
            takes, gives = _FUNCTIONS[name]
            return _Sql(f"{name}({self._as(parts[0], takes)})", gives)
        raise self._refusal(_SIMPLE, f"`{name}`")

    def _alike(self, parts: Sequence[_Sql]) -> list[str]:
        """Return texts of one kind, which one of the parts decides that is no column alone."""
        kind = next((part.kind for part in parts if part.kind is not None), None)
        if kind is None:
            names = " and ".join(f"`{part.column}`" for part in parts)
            hint = f"write `{parts[0].column} + 0` for numbers, `trim({parts[0].column})` for texts"
            raise self._refusal("to know whether to compare numbers or texts", f"{names} alone", hint)
        return [self._as(part, kind) for part in parts]

    def _as(self, part: _Sql, kind: str) -> str:
        if part.kind is None:
            return self._used.setdefault((part.column, kind), f"c{len(self._used)}")
        if part.kind != kind:
            names = {NUMBER: "a number", TEXT: "a text", TRUTH: "true or false"}
            raise self._refusal(names[kind], names[part.kind])
        return part.text

    def _refusal(self, expected: str, actual: str, hint: str | None = None) -> UsageError:
        hint = _HINT if expected == _SIMPLE else hint
        return UsageError(f"`--where {self.text}`", expected=expected, found=actual, hint=hint)


def _parsed(text: str) -> dict[str, Any]:
    """Return the tree of an expression as DuckDB has it."""
    # In brackets alone, it could close them; without them, more could come after it.
    _tree(text, text)
    node = _tree(text, f"(\n{text}\n)")
    clause = node.get("where_clause")
    alone = node.get("from_table", {}).get("type") == "EMPTY" and len(node.get("select_list", ())) == 1
    others = ("modifiers", "group_expressions", "group_sets", "having", "sample", "qualify")
    if not clause or not alone or any(node.get(each) for each in others) or node["cte_map"]["map"]:
        raise UsageError(f"`--where {text}`", expected=_SIMPLE, found="a statement", hint=_HINT)
    return dict(clause)


def _tree(text: str, clause: str) -> dict[str, Any]:
    answer = _connection().execute(
        "SELECT json_serialize_sql(?::VARCHAR, skip_null := false, skip_empty := false)",
        [f"SELECT 1 WHERE {clause}"],
    )
    tree = json.loads(answer.fetchall()[0][0])
    if tree["error"]:
        hint = "such as `country = 'KR' and amount > 10`; a name that SQL uses itself goes in double quotes"
        actual = str(tree["error_message"])
        raise UsageError(f"`--where {text}`", expected="an expression", found=actual, hint=hint)
    statements = tree["statements"]
    return dict(statements[0]["node"]) if len(statements) == 1 else {}


@functools.cache
def _connection() -> Any:
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise missing_extra("`--where`", "batch", error) from error
    # One thread: processes share the rows already. Nothing is fetched, and nothing read or written.
    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": 1,
        "enable_external_access": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "lock_configuration": True,
    }
    return duckdb.connect(":memory:", config=settings)


def _ask(checked: str, table: pa.Table) -> pa.Array:
    """Return whether a checked expression is true, for each row; unknown is not true."""
    connection = _connection()
    connection.register("batch", table)
    try:
        answer = connection.execute(f"SELECT coalesce({checked}, false) AS kept FROM batch")  # noqa: S608 - checked
        return pa.array(answer.fetchnumpy()["kept"], pa.bool_())
    finally:
        connection.unregister("batch")


def _first_names(table: Table) -> list[str]:
    """Return the columns that the first rows of JSON lines have."""
    names: dict[str, None] = {}
    count = 0
    for rows in table.read(Span(0, None, 0, None), ()):
        for each in rows.objects or ():
            names.update(dict.fromkeys(each))
        count += len(rows.numbers)
        if count >= _MOST_LOOKED_AT:
            break
    return list(names)


def _check_kind(column: str, kind: pa.DataType, used: str, where: str) -> None:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    is_whole, is_truth = pa.types.is_integer(kind), pa.types.is_boolean(kind)
    is_fraction = pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    is_time = pa.types.is_date(kind) or pa.types.is_timestamp(kind)
    fits = {
        NUMBER: is_text or is_whole or is_fraction,
        # A fraction has many texts, of which a column of numbers keeps none.
        TEXT: is_text or is_whole or is_time or is_truth,
        TRUTH: is_text or is_truth,
        VALUE: True,
    }
    if not (fits[used] or pa.types.is_null(kind)):
        hint = None
        if is_time:
            hint = "times are compared as texts, such as `day >= '2026-01-31'`"
        elif is_fraction:
            hint = "write the number without quotes"
        expected = {NUMBER: "numbers", TEXT: "texts", TRUTH: "true or false"}[used]
        named = f"{where}, column `{column}`"
        raise ValueRefused(named, expected=f"{expected}, for `--where`", found=f"`{kind}`", hint=hint)


def _converted(rows: Rows, column: str, kind: str) -> pa.Array:
    """Return a column as numbers, texts or truth values; what is none of them is missing."""
    if rows.objects is not None:
        array = pa.array([_text(each.get(column)) for each in rows.objects], pa.string())
    else:
        array = rows.batch.column(column)
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if rows.texts:  # A CSV has no other way to lack a value.
            array = pc.if_else(pc.equal(array, ""), None, array)
    return {NUMBER: _numbers, TEXT: _texts, TRUTH: _truths, VALUE: _values}[kind](array)


def _numbers(array: pa.Array) -> pa.Array:
    if pa.types.is_null(array.type):
        return array.cast(pa.float64())
    if _is_text(array.type):
        trimmed = pc.utf8_trim_whitespace(array.cast(pa.string()))
        is_number = pc.match_substring_regex(trimmed, _NUMBER_TEXT)
        array = pc.if_else(is_number, trimmed, None)
    # By way of float32, to which every Arrow casts half floats.
    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())
    # Without a check: whole numbers above 2**53 are rounded, in every form of file alike.
    numbers = array.cast(pa.float64(), safe=False)
    return pc.if_else(pc.is_nan(numbers), None, numbers)


def _texts(array: pa.Array) -> pa.Array:
    if not pa.types.is_timestamp(array.type):
        return array.cast(pa.string())
    # In UTC, and without the zeros of a finer unit: as times are written in most files.
    texts = array.cast(pa.timestamp(array.type.unit)).cast(pa.string())
    for pattern, shorter in ((r"(\.\d*?)0+$", r"\1"), (r"\.$", "")):
        texts = pc.replace_substring_regex(texts, pattern, shorter)
    return texts


def _values(array: pa.Array) -> pa.Array:
    missing = pc.is_null(array, nan_is_null=pa.types.is_floating(array.type))
    return pc.if_else(missing, None, True)


def _truths(array: pa.Array) -> pa.Array:
    if not _is_text(array.type):
        return array.cast(pa.bool_())
    lower = pc.utf8_lower(pc.utf8_trim_whitespace(array.cast(pa.string())))
    known = pc.is_in(lower, pa.array(["true", "false"]))
    return pc.if_else(known, pc.equal(lower, "true"), None)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()
