"""Looks at every input once, before the first row: whether it fits, what bytes it has, how it is divided.

An object is read here for the first time. What a run that was begun knows of one that is still the same is
taken from its plan. Scores nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from lading.batch.inputs import InputFile
from lading.batch.objects import is_url
from lading.batch.plan import Plan, spans_of
from lading.batch.spool import Spool
from lading.batch.tables import Span


def look_at(
    files: Sequence[InputFile],
    spool: Spool,
    check: Callable[[InputFile], None],
    begun: Plan | None = None,
) -> tuple[list[InputFile], dict[str, tuple[Span, ...]]]:
    """Have `check` look at each file; return them with their SHA-256, and their ranges by path.

    Raises what `check` raises, and `BodyInvalid` for a file that cannot be read at all.
    """
    known = _known(begun)
    looked, spans = [], dict[str, tuple[Span, ...]]()
    for file in files:
        before = known.get((file.path, file.etag, file.size_bytes)) if is_url(file.path) else None
        if before is not None:
            # The same ETag is the same content. Its bytes are held to the SHA-256 when they are scored.
            seen, spans[file.path] = before
            looked.append(msgspec.structs.replace(seen, name=file.name))
            continue
        here = spool.fetch(file)
        check(here)
        spans[file.path] = tuple(spans_of(here))
        looked.append(msgspec.structs.replace(here, path=file.path))
    return looked, spans


_Known = dict[tuple[str, str, int], tuple[InputFile, tuple[Span, ...]]]


def _known(begun: Plan | None) -> _Known:
    if begun is None:
        return {}
    spans: list[list[Span]] = [[] for _ in begun.files]
    for task in begun.tasks:
        spans[task.file].append(task.span)
    # By its size too: what some servers call an ETag is not made of the bytes.
    return {
        (file.path, file.etag, file.size_bytes): (file, tuple(spans[at]))
        for at, file in enumerate(begun.files)
        if is_url(file.path)
    }
