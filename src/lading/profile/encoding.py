"""A profile as canonical JSON, and back, with the rules that a profile of a bundle keeps."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Sequence

import msgspec

from lading.profile import FIRST, Calibration, ColumnProfile, Profile
from lading.profile.columns import CONFIDENCE, Source, is_measurable
from lading.signature import Signature, Tensor

MOST_CELLS = 1000
# Beyond this a count is no exact number in JSON readers that know floats only.
_MOST_ROWS = 2**53
_LONGEST_TEXT = 1000

Broken = tuple[str, str, str]
"""A rule that is broken: the path in the profile, what is expected there, and what it has."""


def encode(profile: Profile) -> bytes:
    """Return the profile as canonical JSON: sorted keys, no spaces, UTF-8."""
    # Its digest names it: the same profile must be the same bytes everywhere.
    plain = msgspec.to_builtins(profile)
    return json.dumps(
        plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def decode(content: bytes) -> Profile:
    """Return the profile in `content`; raises `msgspec.ValidationError`, `msgspec.DecodeError`."""
    return msgspec.json.decode(content, type=Profile)


def digest(profile: Profile) -> str:
    """Return what identifies a profile: windows that were counted in its cells name it."""
    return f"sha256:{hashlib.sha256(encode(profile)).hexdigest()}"


def broken_rules(profile: Profile, signature: Signature) -> Iterator[Broken]:
    """Return the rules that a profile for a model of this `signature` breaks, the first first."""
    return itertools.chain(
        _rows(profile),
        _side("inputs", profile.inputs, signature.inputs),
        _side("outputs", profile.outputs, signature.outputs),
        _calibration(profile),
    )


def _rows(profile: Profile) -> Iterator[Broken]:
    for key in ("rows", "refused", "labelled", "right"):
        number = getattr(profile, key)
        if not 0 <= number <= _MOST_ROWS:
            yield f"$.{key}", "a number of rows", str(number)[:40]
    # A profile may come from anybody's bundle, and accuracies are computed of these.
    if profile.right > profile.labelled:
        yield "$.right", f"at most the {profile.labelled} rows with labels", str(profile.right)
    for at, column in enumerate(profile.inputs):
        if column.rows != profile.rows:
            yield f"$.inputs[{at}].counts", f"{profile.rows} rows in all", str(column.rows)[:40]
    for at, column in enumerate(profile.outputs):
        # Outputs may be known of fewer rows: a large reference is answered in part.
        if column.rows > profile.rows:
            yield f"$.outputs[{at}].counts", f"at most {profile.rows} rows", str(column.rows)[:40]


def _side(key: str, columns: Sequence[ColumnProfile], tensors: Sequence[Tensor]) -> Iterator[Broken]:
    by_name = {tensor.name: tensor for tensor in tensors}
    names: set[str] = set()
    places: set[tuple[str, int, str]] = set()
    for at, column in enumerate(columns):
        path, tensor = f"$.{key}[{at}]", by_name.get(column.tensor)
        if tensor is None or not is_measurable(Source.of(column), tensor):
            yield path, f"a column of the {key}", _quoted(f"{column.tensor}, {column.name}")
        place = (column.tensor, column.position, column.summary)
        if not column.name or column.name in names or place in places:
            yield path, "a name of its own, and each column once", _quoted(column.name)
        names.add(column.name)
        places.add(place)
        yield from _column(path, column)


def _column(path: str, column: ColumnProfile) -> Iterator[Broken]:
    # Bins have one bound less than cells; categories have a cell each.
    cells = FIRST + (len(column.values) if column.values else len(column.bounds) + 1)
    if column.values and column.bounds:
        yield path, "bounds or values", "both"
    if len(column.counts) != cells:
        yield f"{path}.counts", f"{cells} counts, one a cell", str(len(column.counts))
    # Servers hold the counts of all cells in memory, and send them with every window.
    if cells > MOST_CELLS:
        yield f"{path}.counts", f"at most {MOST_CELLS} cells", str(cells)
    if any(not 0 <= count <= _MOST_ROWS for count in column.counts):
        yield f"{path}.counts", f"numbers from 0 to {_MOST_ROWS}", "another"
    rising = itertools.pairwise(column.bounds)
    if not all(math.isfinite(bound) for bound in column.bounds) or any(a >= b for a, b in rising):
        yield f"{path}.bounds", "finite numbers that rise", "others"
    yield from _values(f"{path}.values", column)
    yield from _moments(path, column)


def _values(path: str, column: ColumnProfile) -> Iterator[Broken]:
    kind: type = {"category": str, "boolean": bool}.get(column.kind, float)
    # `False == 0.0`, but one is no number and the other no boolean.
    if any(type(value) is not kind for value in column.values):
        yield path, f"values of the kind `{column.kind}`", "others"
    elif column.kind in ("category", "boolean") and not column.values:
        yield path, "a value at least", "none"
    elif len(set(column.values)) != len(column.values):
        yield path, "each value once", "one again"
    texts = [value for value in column.values if isinstance(value, str)]
    if any(not 0 < len(text) <= _LONGEST_TEXT for text in texts):
        yield path, f"texts of 1 to {_LONGEST_TEXT} characters", "another"
    if any(not math.isfinite(value) for value in column.values if isinstance(value, float)):
        yield path, "finite numbers", "another"


def _moments(path: str, column: ColumnProfile) -> Iterator[Broken]:
    for key in ("minimum", "maximum", "mean", "deviation"):
        number = getattr(column, key)
        if number is not None and not math.isfinite(number):
            yield f"{path}.{key}", "a finite number", str(number)
    if column.minimum is not None and column.maximum is not None and column.minimum > column.maximum:
        yield f"{path}.minimum", f"at most {column.maximum}", str(column.minimum)
    if column.deviation is not None and column.deviation < 0:
        yield f"{path}.deviation", "0 or more", str(column.deviation)


def _calibration(profile: Profile) -> Iterator[Broken]:
    calibration = profile.calibration
    if calibration is None:
        return
    column = next((column for column in profile.outputs if column.summary == CONFIDENCE), None)
    sizes = len(calibration.rows), len(calibration.right)
    # Estimated accuracy weights these by live counts of the same cells.
    if column is None or sizes != (len(column.counts),) * 2:
        yield "$.calibration", f"a number for each cell of `{CONFIDENCE}`", str(list(sizes))
    elif not _is_share(calibration) or sum(calibration.rows) > profile.labelled:
        yield "$.calibration", "at most the rows of each cell, and all with labels", "more, or below 0"


def _is_share(calibration: Calibration) -> bool:
    pairs = zip(calibration.right, calibration.rows, strict=True)
    return all(0 <= right <= rows <= _MOST_ROWS for right, rows in pairs)


def _quoted(name: str) -> str:
    short = name[:80]
    return f"`{short}`" if short.isprintable() else ascii(short)
