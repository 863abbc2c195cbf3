"""Stated checks: from files of TOML, from a manifest, and joined with the rules of a profile.

    [petal_length]              # a column, or an input without columns
    minimum = 0
    at_most = "sepal_length"    # another column, which is never smaller

A server's file has the same tables under the name of a model: ``[iris.petal_length]``. Checks no value.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from lading import text_patterns
from lading.bundle.formats.v2 import Check, broken_checks
from lading.errors import ExtraMissing, InvalidSetting
from lading.input_checks import KINDS, Rule, RuleKind
from lading.input_checks.profile_rules import profile_rules
from lading.profile import Profile
from lading.profile.columns import sources
from lading.signature import Signature, Tensor, quoted

Tables = Mapping[str, Any]
"""What a file states: by column, its keys."""

Misfit = InvalidSetting | ExtraMissing
"""Why a check is not in force."""

_MOST_BYTES = 4 * 2**20


def rules_of(
    signature: Signature, profile: Profile | None, checks: Sequence[Check], more: Sequence[Check] = ()
) -> tuple[Rule, ...]:
    """Return the rules in force: those of `profile`, then `checks` of the manifest, then `more` of a server.

    What is stated later adds to what is in force, or replaces the rule of its kind for the same column.
    """
    # One rule of a kind for a column: what is stated later takes the place of what was.
    rules: dict[tuple[str, str, RuleKind], Rule] = {}
    if profile is not None:
        rules = {(rule.tensor, rule.column, rule.kind): rule for rule in profile_rules(profile, signature)}
    for check in (*checks, *more):
        tensor = signature.input(check.input)
        # Removed before the check's own rules are added: it may replace what it ignores.
        for kind in check.ignore:
            for key in [key for key in rules if _is_about(key, check, tensor) and key[2] == kind]:
                del rules[key]
        for rule in _stated(check, tensor, signature):
            key = (rule.tensor, rule.column, rule.kind)
            rules[key] = _joined(rules.get(key), rule, check)
    return tuple(rules.values())


def _is_about(key: tuple[str, str, RuleKind], check: Check, tensor: Tensor) -> bool:
    return key[0] == tensor.name and check.column in ("", key[1])


def _joined(before: Rule | None, rule: Rule, check: Check) -> Rule:
    """Return a stated rule, whose range keeps the other bound where it states only one."""
    # Only a range has two halves; a set or a pattern is stated whole.
    if before is None or rule.kind != "range":
        return rule
    return replace(
        rule,
        low=before.low if check.minimum is None else rule.low,
        high=before.high if check.maximum is None else rule.high,
    )


def _stated(check: Check, tensor: Tensor, signature: Signature) -> Iterator[Rule]:
    column, position = _place(check, tensor)
    rule = Rule(tensor=tensor.name, column=column, position=position, kind="missing", is_stated=True)
    if check.minimum is not None or check.maximum is not None:
        low = -math.inf if check.minimum is None else check.minimum
        high = math.inf if check.maximum is None else check.maximum
        yield replace(rule, kind="range", low=low, high=high)
    if check.allowed:
        yield replace(rule, kind="set", allowed=check.allowed)
    if check.pattern:
        yield replace(rule, kind="pattern", pattern=check.pattern)
    # Missing values are allowed unless the check says otherwise.
    if not check.missing:
        yield rule
    if check.at_most:
        yield replace(rule, kind="at_most", at_most=_other(check.at_most, tensor, signature))


def _place(check: Check, tensor: Tensor) -> tuple[str, int]:
    """Return what people call the column of a check, and its position; -1 is every value of a row."""
    if check.column:
        return check.column, tensor.columns.index(check.column)
    # An input of one column is called by that column; of several, its name means all of them.
    places = [source for source in sources(tensor) if not source.summary]
    return (places[0].name, places[0].position) if len(places) == 1 else (tensor.name, -1)


def _other(name: str, tensor: Tensor, signature: Signature) -> tuple[str, str, int]:
    if name in tensor.columns:
        return tensor.name, name, tensor.columns.index(name)
    return name, name, 0 if len(signature.input(name).shape) > 1 else -1


def checks_in(tables: Tables, signature: Signature, where: str) -> tuple[Check, ...]:
    """Return the checks that `tables` state for a model of this `signature`.

    Raises `InvalidSetting` naming the file `where` and what is wrong in it.
    """
    return tuple(_check(name, table, signature, where) for name, table in tables.items())


def read_checks(source: str | Path | Tables | None) -> Callable[[Signature], tuple[Check, ...]]:
    """Return what makes the checks of a file, or of its tables, for a signature, once that is known.

    Both raise `InvalidSetting`.
    """
    tables: Tables = source if isinstance(source, Mapping) else {}
    where = "`checks`"
    if isinstance(source, str | Path):
        tables, where = _tables(Path(source)), f"`{source}`"
    # Types are checked now, before a model is converted; names of columns need its signature.
    for name, table in tables.items():
        _converted(table, name, where)
    return partial(checks_in, tables, where=where)


class ServerChecks:
    """The checks of a server's file, by model; raises `InvalidSetting` if it cannot be read."""

    def __init__(self, path: Path | None = None) -> None:
        self._where = f"`{path}`"
        self._tables = _tables(path) if path is not None else {}
        for name, tables in self._tables.items():
            # At the start and not with the first request: a typing error should not wait for one.
            for column, table in tables.items():
                if not isinstance(table, dict):
                    expected = "a table for each column of a model, such as `[iris.petal_length]`"
                    raise InvalidSetting(
                        f"{self._where}, `{name}.{column}`", expected=expected, found="a value"
                    )
                _converted(table, column, self._where)

    def of(self, name: str, signature: Signature) -> tuple[tuple[Check, ...], tuple[Misfit, ...]]:
        """Return the checks of the model `name`, and why others do not fit this version of it."""
        checks, misfits = [], []
        for column, table in self._tables.get(name, {}).items():
            try:
                checks.append(_check(column, table, signature, self._where))
            except (InvalidSetting, ExtraMissing) as error:
                misfits.append(error)
        return tuple(checks), tuple(misfits)


def compilable(checks: Sequence[Check]) -> tuple[tuple[Check, ...], tuple[Misfit, ...]]:
    """Return the checks of a manifest without the patterns that cannot be matched here, and why not.

    Reading a bundle asks only whether a pattern is a regular expression of Python's, which is more.
    """
    kept, misfits = [], []
    for check in checks:
        try:
            if check.pattern:
                text_patterns.compiled(check.pattern)
            kept.append(check)
        except (InvalidSetting, ExtraMissing) as error:
            misfits.append(error)
            kept.append(msgspec.structs.replace(check, pattern=""))
    return tuple(kept), tuple(misfits)


def _tables(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            # One byte more than is allowed shows that there are more, without reading them all.
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise InvalidSetting(f"`{path}`", expected=f"at most {_MOST_BYTES} bytes", found="more")
        tables = tomllib.loads(text.decode())
    except OSError as error:
        raise InvalidSetting(f"`{path}`", expected="a file of checks", found=str(error.strerror)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidSetting(f"`{path}`", expected="TOML", found=str(error)) from None
    for name, table in tables.items():
        if not isinstance(table, dict):
            expected = "a table for each column, such as `[petal_length]`"
            raise InvalidSetting(f"`{path}`, `{name}`", expected=expected, found="a value")
    return tables


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a column in a file; they are those of `Check`, which names the column besides."""

    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str | float, ...] = ()
    pattern: str = ""
    missing: bool = True
    at_most: str = ""
    ignore: tuple[RuleKind, ...] = ()


def _converted(table: Any, column: str, where: str) -> _Table:
    try:
        return msgspec.convert(table, _Table)
    except msgspec.ValidationError as error:
        keys = ", ".join(f"`{key}`" for key in _Table.__struct_fields__)
        raise InvalidSetting(
            f"{where}, {quoted(column)}",
            expected=f"some of {keys}",
            found=str(error),
            hint=f"`ignore` has some of {', '.join(f'`{kind}`' for kind in KINDS)}",
        ) from None


def _check(name: str, table: Any, signature: Signature, where: str) -> Check:
    keys = msgspec.structs.asdict(_converted(table, name, where))
    tensor, column = _owner(name, signature, where)
    check = Check(input=tensor.name, column=column, **keys)
    # The same rules as those of a manifest, said with the place in the file.
    for path, expected, actual in broken_checks([check], signature):
        key = path.rpartition("]")[2].strip(".")
        raise InvalidSetting(
            f"{where}, {quoted(name)}{f' {key}' if key else ''}", expected=expected, found=actual
        )
    if check.pattern:
        _compile_pattern(check.pattern, f"{where}, {quoted(name)} pattern")
    return check


def _compile_pattern(pattern: str, where: str) -> None:
    try:
        text_patterns.compiled(pattern)
    except InvalidSetting as error:
        raise InvalidSetting(where, expected=error.expected, found=error.found, hint=error.hint) from None


def _owner(name: str, signature: Signature, where: str) -> tuple[Tensor, str]:
    """Return the input of a column, and the column, empty for an input that a table names itself."""
    # A column before an input of the same name: what people name is mostly the column.
    for tensor in signature.inputs:
        if name in tensor.columns:
            return tensor, name
    for tensor in signature.inputs:
        if name == tensor.name:
            return tensor, ""
    known = (column for tensor in signature.inputs for column in tensor.columns or (tensor.name,))
    raise InvalidSetting(where, expected=f"columns of the model: {_listed(known)}", found=quoted(name))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(quoted(name) for name in names)
