"""What a run will do, from the bytes of its inputs alone: two machines make the same plan. Scores nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from lading.batch.inputs import InputFile
from lading.batch.tables import Span, open_table
from lading.signature import Signature, Tensor

FORMAT = 1
PART_ROWS = 262_144
"""A part has about as many rows: no group of rows of a Parquet file is divided."""

_CHUNK_BYTES = 4 * 2**20
_MOST_CHUNK_ROWS = 8192
_OPEN_SIZE = 256
_ITEM_BYTES = 8


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A range of one file that becomes one part; ``file`` is its place in the plan."""

    part: str
    file: int
    span: Span


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A run: the bundle by its digest, what is written of each row, the files and their ranges."""

    format: int
    bundle: str
    model: str
    keep: tuple[str, ...]
    where: str = ""
    chunk_rows: int
    files: tuple[InputFile, ...]
    tasks: tuple[Task, ...]

    @property
    def identity(self) -> str:
        """A digest of all that decides what is written; the folder of the files is no part of it."""
        files = [(file.name, file.sha256) for file in self.files]
        known = (self.format, self.bundle, self.keep, self.chunk_rows, files, self.tasks)
        # Absent without one: plans of before there was any keep their identity.
        chosen = (self.where,) if self.where else ()
        return hashlib.sha256(msgspec.json.encode((*known, *chosen))).hexdigest()


def make_plan(
    files: Sequence[InputFile],
    bundle: str,
    model: str,
    signature: Signature,
    keep: Sequence[str],
    where: str = "",
    *,
    spans: Mapping[str, Sequence[Span]] | None = None,
) -> Plan:
    """Divide the files into ranges, which are in `spans` by path if they were looked at before.

    Raises `BodyInvalid` for a file that cannot be read at all.
    """
    rows = chunk_rows(signature.inputs)
    # Numbered through all files: the names of parts then sort as the rows do.
    tasks: list[Task] = []
    for at, file in enumerate(files):
        for span in spans[file.path] if spans is not None else spans_of(file):
            tasks.append(Task(_part_name(len(tasks), bundle, file, span, keep, where, rows), at, span))
    return Plan(
        format=FORMAT,
        bundle=bundle,
        model=model,
        keep=tuple(keep),
        where=where,
        chunk_rows=rows,
        files=tuple(files),
        tasks=tuple(tasks),
    )


def chunk_rows(tensors: Sequence[Tensor]) -> int:
    """Return how many rows run as one: by the size of a row alone, as bits may depend on it."""
    # Bytes of a row, whatever the dtype: what a network computes from it is of that order.
    size = 0
    for tensor in tensors:
        values = 1
        for dimension in tensor.shape[1:]:
            values *= dimension if isinstance(dimension, int) else _OPEN_SIZE
        size += values * _ITEM_BYTES
    rows = max(1, min(_MOST_CHUNK_ROWS, _CHUNK_BYTES // max(1, size)))
    # A power of two, as chunks are: others would be divided further, by where a reader makes a pause.
    return 1 << (rows.bit_length() - 1)


def spans_of(file: InputFile) -> Iterator[Span]:
    """Iterate over the ranges of a file; one without rows has none."""
    groups = open_table(file).groups()
    if groups is None:  # Where a row begins is known only after those before it.
        yield Span(0, None, 0, None)
        return
    first_row = first_group = rows = 0
    for at, count in enumerate(groups):
        rows += count
        # The last groups are a part of their own, however few rows they have.
        if rows >= PART_ROWS or (at == len(groups) - 1 and rows):
            yield Span(first_row, rows, first_group, at + 1)
            first_row, first_group, rows = first_row + rows, at + 1, 0


def _part_name(
    number: int, bundle: str, file: InputFile, span: Span, keep: Sequence[str], where: str, rows: int
) -> str:
    content = (FORMAT, bundle, file.name, file.sha256, span, tuple(keep), rows)
    chosen = (where,) if where else ()
    digest = hashlib.sha256(msgspec.json.encode((*content, *chosen))).hexdigest()
    # Sorted by name, parts are in the order of the rows.
    return f"part-{number:06}-{digest[:32]}.parquet"
