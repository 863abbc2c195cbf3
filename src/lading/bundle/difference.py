"""How two bundles of one model differ, and which of the differences callers may notice. Reads no file.

A caller notices what makes a request that was right wrong, or an answer that means something else under the
same name: another column, dtype, order, output or label. The rest is shown and breaks nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from lading import notebook
from lading.bundle.formats.v2 import Extended
from lading.signature import BATCH, Signature, Tensor

if TYPE_CHECKING:
    from lading.bundle.manifest import Manifest

_MOST_NAMES = 6
_ABSENT = "none"
# Compared by rules of their own below; any other key that a tensor or a signature has must be equal.
_TENSOR_RULES = ("name", "dtype", "shape", "columns", "allows_nan", "nan_columns")
_SIGNATURE_RULES = ("inputs", "outputs", "independent_rows")
_FORMAT_2 = tuple(name for name in Extended.__struct_fields__ if name not in ("runtime", "signature"))
_TRAINING = (("framework", "trained with"), ("python", "Python of training"), ("platform", "trained on"))


class Difference(msgspec.Struct, frozen=True):
    """One thing in which two bundles differ, as text; ``breaks`` if callers may notice it."""

    where: str
    old: str
    new: str
    breaks: bool

    def __str__(self) -> str:
        return f"{self.where}: {self.old} → {self.new}"


class Differences(tuple[Difference, ...]):
    """All differences of two bundles; those that callers may notice come first."""

    __slots__ = ()

    @property
    def breaking(self) -> tuple[Difference, ...]:
        """Those that callers may notice."""
        return tuple(difference for difference in self if difference.breaks)

    def __repr__(self) -> str:
        first = f": {notebook.line(str(self[0]))}{', …' if len(self) > 1 else ''}" if self else ""
        return f"Differences({len(self)}, {len(self.breaking)} of them breaking{first})"

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows, or None without the extra ``hub``."""
        return notebook.fragment("differences", self)


def differences(old: Manifest, new: Manifest) -> Differences:
    """Return in what `new` differs from `old`; those that callers may notice come first."""
    everything = [
        *_signatures(old.signature, new.signature),
        *_mappings("label of class", old.labels, new.labels, breaks=True),
        *_facts(old, new),
        *_mappings("metric", _numbers(old.metrics), _numbers(new.metrics), breaks=False),
        *_mappings("package", old.training.packages, new.training.packages, breaks=False),
    ]
    return Differences(sorted(everything, key=lambda difference: not difference.breaks))


def _signatures(old: Signature, new: Signature) -> Iterator[Difference]:
    yield from _tensors("input", old.inputs, new.inputs)
    yield from _tensors("output", old.outputs, new.outputs)
    if old.primary.name != new.primary.name:
        yield Difference("output of `predict`", f"`{old.primary.name}`", f"`{new.primary.name}`", True)
    if old.independent_rows != new.independent_rows:
        words = {True: "independent", False: "dependent on each other"}
        yield Difference("rows", words[old.independent_rows], words[new.independent_rows], False)
    yield from _other_keys("signature", old, new, _SIGNATURE_RULES)


def _tensors(role: str, old: Sequence[Tensor], new: Sequence[Tensor]) -> Iterator[Difference]:
    before, after = ({tensor.name: tensor for tensor in tensors} for tensors in (old, new))
    for name, tensor in before.items():
        if name in after:
            yield from _tensor(f"{role} `{name}`", tensor, after[name], is_input=role == "input")
        else:
            yield Difference(f"{role} `{name}`", str(tensor), _ABSENT, True)
    for name, tensor in after.items():
        if name not in before:
            # One more output is one more field in an answer; one more input is missing in every request.
            yield Difference(f"{role} `{name}`", _ABSENT, str(tensor), role == "input")
    if set(before) == set(after) and list(before) != list(after):
        yield Difference(f"order of {role}s", _listed(list(before)), _listed(list(after)), True)


def _tensor(where: str, old: Tensor, new: Tensor, *, is_input: bool) -> Iterator[Difference]:
    if old.dtype != new.dtype:
        yield Difference(f"{where}, dtype", old.dtype, new.dtype, True)
    if old.shape != new.shape:
        breaks = _shape_breaks(old.shape, new.shape, is_input=is_input)
        yield Difference(f"{where}, shape", _shape(old), _shape(new), breaks)
    if old.columns != new.columns:
        yield _columns(f"{where}, columns", old.columns, new.columns, is_input=is_input)
    if (old.allows_nan, old.nan_columns) != (new.allows_nan, new.nan_columns):
        narrower = bool(new.nan_columns) and not (
            old.nan_columns and set(old.nan_columns) <= set(new.nan_columns)
        )
        breaks = old.allows_nan and (not new.allows_nan or narrower)
        yield Difference(f"{where}, missing values", _nan(old), _nan(new), breaks)
    yield from _other_keys(where, old, new, _TENSOR_RULES)


def _shape_breaks(old: tuple[int | str, ...], new: tuple[int | str, ...], *, is_input: bool) -> bool:
    """Return whether a request or an answer of the old shape may be none of the new one."""
    if len(old) != len(new):
        return True
    wide, narrow = (new, old) if is_input else (old, new)
    for outer, inner in zip(wide, narrow, strict=True):
        if BATCH in (outer, inner):
            if outer != inner:
                return True
        elif isinstance(outer, int) and outer != inner:
            return True
    return False


def _columns(where: str, old: Sequence[str], new: Sequence[str], *, is_input: bool) -> Difference:
    if not old or not new:
        # Requests without names go on as before; answers get or lose them.
        before, after = (f"{len(columns)} named" if columns else "unnamed" for columns in (old, new))
        return Difference(where, before, after, bool(old) or not is_input)
    gone = [column for column in old if column not in new]
    added = [column for column in new if column not in old]
    if gone or added:
        changes = [f"without {_listed(gone)}"] * bool(gone) + [f"with {_listed(added)}"] * bool(added)
        return Difference(where, str(len(old)), f"{len(new)}, {' and '.join(changes)}", True)
    at = next(at for at, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1])
    return Difference(where, f"`{old[at]}` as number {at + 1}", f"`{new[at]}`, another order", True)


def _shape(tensor: Tensor) -> str:
    return f"[{', '.join(map(str, tensor.shape))}]"


def _nan(tensor: Tensor) -> str:
    if not tensor.allows_nan:
        return "refused"
    if not tensor.nan_columns:
        return "allowed"
    names = [tensor.columns[at] if at < len(tensor.columns) else str(at) for at in tensor.nan_columns]
    return f"allowed in {_listed(names)}"


def _facts(old: Manifest, new: Manifest) -> Iterator[Difference]:
    """Return differences in what the manifests state about their models."""
    pairs = [
        (name.replace("_", " "), getattr(old, name), getattr(new, name))
        for name in ("purpose", "owner", "description", "runtime", "expected_from", *_FORMAT_2)
    ]
    pairs += [(text, getattr(old.training, name), getattr(new.training, name)) for name, text in _TRAINING]
    pairs.append(("commit", old.training.git_commit, new.training.git_commit))
    pairs += [
        (f"tolerance, {name}", getattr(old.tolerance, name), getattr(new.tolerance, name))
        for name in old.tolerance.__struct_fields__
    ]
    for where, before, after in pairs:
        if before != after:
            yield Difference(where, _text(before), _text(after), False)


def _mappings(
    where: str, old: Mapping[str, str], new: Mapping[str, str], *, breaks: bool
) -> Iterator[Difference]:
    for key in dict.fromkeys((*old, *new)):
        if old.get(key) != new.get(key):
            yield Difference(f"{where} `{key}`", old.get(key, _ABSENT), new.get(key, _ABSENT), breaks)


def _other_keys(
    where: str, old: msgspec.Struct, new: msgspec.Struct, rules: Sequence[str]
) -> Iterator[Difference]:
    for name in old.__struct_fields__:
        before, after = getattr(old, name), getattr(new, name)
        if name not in rules and before != after:
            yield Difference(f"{where}, {name}", _text(before), _text(after), True)


def _numbers(metrics: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{value:g}" for name, value in metrics.items()}


def _text(value: object) -> str:
    if isinstance(value, tuple) and all(isinstance(part, str) for part in value):
        return ", ".join(value) or _ABSENT
    return _ABSENT if value in (None, "", {}, False) else str(value)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(f"`{name}`" for name in names[:_MOST_NAMES]) + more
