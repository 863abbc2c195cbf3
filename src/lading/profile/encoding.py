"""A profile as canonical JSON, and back, with the rules that a profile of a bundle keeps. Measures nothing."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator

import msgspec

from lading.profile import ColumnProfile, Profile
from lading.profile.columns import all_sources
from lading.signature import Signature

Broken = tuple[str, str, str]
"""A rule that is broken: the path in the profile, what is expected there, and what it has."""


def encode(profile: Profile) -> bytes:
    """Return the profile as canonical JSON: sorted keys, no spaces, UTF-8."""
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
    ins, outs = all_sources(signature)
    for key, columns, known in (("inputs", profile.inputs, ins), ("outputs", profile.outputs, outs)):
        allowed = {(source.tensor, source.name, source.position, source.summary) for source in known}
        for at, column in enumerate(columns):
            path = f"$.{key}[{at}]"
            if (column.tensor, column.name, column.position, column.summary) not in allowed:
                yield path, f"a column of the {key}", f"`{column.name[:80]}` of `{column.tensor[:80]}`"
            yield from _column(path, column)
    calibration = profile.calibration
    if calibration is not None:
        column = next((column for column in profile.outputs if column.summary == "confidence"), None)
        sizes = len(calibration.rows), len(calibration.right)
        if column is None or sizes != (len(column.counts),) * 2:
            yield "$.calibration", "a number for each cell of `confidence`", str(list(sizes))
        elif any(
            not 0 <= right <= rows for right, rows in zip(calibration.right, calibration.rows, strict=True)
        ):
            yield "$.calibration.right", "at most the rows of each cell", "more"


def _column(path: str, column: ColumnProfile) -> Iterator[Broken]:
    cells = 2 + (len(column.values) if column.values else len(column.bounds) + 1)
    if column.values and column.bounds:
        yield path, "bounds or values", "both"
    if len(column.counts) != cells:
        yield f"{path}.counts", f"{cells} counts, one a cell", str(len(column.counts))
    if any(count < 0 for count in column.counts):
        yield f"{path}.counts", "no negative number", "one"
    rising = zip(column.bounds, column.bounds[1:], strict=False)
    if not all(math.isfinite(bound) for bound in column.bounds) or any(a >= b for a, b in rising):
        yield f"{path}.bounds", "finite numbers that rise", "others"
    if len(set(map(str, column.values))) != len(column.values):
        yield f"{path}.values", "each value once", "one again"
    if column.kind == "category" and not all(isinstance(value, str) for value in column.values):
        yield f"{path}.values", "texts", "others"
