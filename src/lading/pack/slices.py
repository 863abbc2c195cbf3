"""Slices that are stated when a model is packed: columns by whose cells its metrics are also given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from lading.errors import InvalidSetting
from lading.profile import ColumnProfile, Profile
from lading.signature import Signature
from lading.signature.tensor import list_names

_WHERE = "`slices`"


def read_slices(names: str | Sequence[str], *, profiled: bool) -> Callable[[Signature], tuple[str, ...]]:
    """Return what checks the names against a signature, and returns them.

    `profiled` is whether the bundle may have a profile. Raises `InvalidSetting`, as what is returned does.
    """
    # A text is one name, and not its letters.
    listed = (names,) if isinstance(names, str) else tuple(map(str, names))
    twice = [name for name in listed if listed.count(name) > 1]
    if twice:
        raise InvalidSetting(_WHERE, expected="each name once", found=f"`{twice[0]}` twice")
    if listed and not profiled:
        raise _no_profile()
    return partial(_known, listed)


def _known(names: tuple[str, ...], signature: Signature) -> tuple[str, ...]:
    known = _names(signature)
    for name in names:
        if name not in known:
            expected = f"names of inputs or columns: {list_names(known)}"
            raise InvalidSetting(_WHERE, expected=expected, found=f"`{name}`")
    return names


def _names(signature: Signature) -> list[str]:
    return [name for tensor in signature.inputs for name in (tensor.name, *tensor.columns)]


def require_cells(names: Sequence[str], signature: Signature, profile: Profile | None) -> None:
    """Raise `InvalidSetting` for a name without cells in the profile, by which it could be cut."""
    if not names:
        return
    if profile is None:
        raise _no_profile()
    # Columns without a name of their own have one in the profile, which no manifest may name.
    known = [column.name for column in profile.inputs if _has_values(column)]
    known = [name for name in known if name in _names(signature)]
    for name in names:
        if name not in known:
            expected = f"columns with cells in the profile: {list_names(known)}"
            hint = "slices are values of a named column, not the lengths of texts or sums over a row"
            raise InvalidSetting(_WHERE, expected=expected, found=f"`{name}`", hint=hint)


def _has_values(column: ColumnProfile) -> bool:
    """Return whether the cells of a column are values of it: those of open texts are lengths."""
    is_measured = bool(column.summary) or column.kind == "text"
    return not is_measured and bool(column.bounds or column.values)


def _no_profile() -> InvalidSetting:
    hint = "slices are the cells of its columns: pack with `reference=X_train` (`--reference FILE`)"
    return InvalidSetting(_WHERE, expected="a bundle with a profile", found="none", hint=hint)
