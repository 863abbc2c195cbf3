"""Scores one range of a file into one part: reads, casts, runs and writes, whatever engine asks for it.

Every engine calls this same code with the same ranges, which is why their parts have the same bytes.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet

from lading.batch.casting import Caster
from lading.batch.inputs import sha256_of
from lading.batch.plan import Plan, Task
from lading.batch.spool import Spool
from lading.batch.tables import Rejected, Rows, open_table
from lading.batch.where import Where
from lading.batch.whole_chunks import WholeChunks
from lading.blobs.os_errors import destination_errors
from lading.bundle import Bundle
from lading.bundle.requests import request_signature
from lading.errors import UsageError
from lading.input_checks.compiled import Checks
from lading.input_checks.stated_rules import compilable, rules_of
from lading.log_frames import field_names
from lading.profile.live import LiveCounts
from lading.row_chunks import FixedChunks
from lading.runtime.open import load_runtime
from lading.runtime.python.host import DEFAULT_HOST, PythonHost
from lading.signature import Array, Signature, Tensor
from lading.verify import replay

ROW = "row"
"""The column with the number of a row in its file, from 0."""

REJECTED = pa.schema([(ROW, pa.int64()), ("reason", pa.string()), ("content", pa.string())])

_GROUP_ROWS = 131_072
_DELTAS = (pa.int64(), pa.int32(), pa.uint64(), pa.uint32())
_ALIKE = ("no value", "NaN", "a text", "an infinity", "a number beyond float64")


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A file of the output: its name below the folder, its rows, and its bytes.

    ``etag`` is what a bucket calls the bytes, until they are published.
    """

    name: str
    rows: int
    size_bytes: int
    sha256: str
    etag: str = ""


class Done(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A task that is scored: ``rows`` were read, of which ``scored`` fit; files are None without rows.

    ``counts`` are of the rows that fit, in the cells of the bundle's profile, and ``failed`` says of each
    input check how many of them failed it: they are scored all the same, as a server does by default.
    """

    part: str
    rows: int
    scored: int
    rejected: int
    output: Written | None
    aside: Written | None
    reasons: tuple[tuple[str, int], ...]
    counts: tuple[tuple[int, ...], ...]
    failed: tuple[tuple[str, int], ...]
    left_out: int = 0


class Scorer:
    """A bundle that is open and has proved itself here, ready for tasks."""

    def __init__(self, bundle: Bundle, plan: Plan, python: PythonHost = DEFAULT_HOST) -> None:
        """Open the model and replay its golden samples. Raises `GoldenMismatch` and what loading raises."""
        self._plan = plan
        self._spool = Spool()
        self._where = Where(plan.where) if plan.where else None
        self._signature = bundle.manifest.signature
        self._caster = Caster(request_signature(bundle.manifest, bundle.samples()))
        self._profile = bundle.profile
        checks, misfits = compilable(bundle.manifest.checks)
        if misfits:
            raise misfits[0]  # Rows that nobody looked at would count as rows that pass.
        self._checks = Checks(rules_of(self._signature, self._profile, checks), self._signature)
        # Replayed in every process, as each may be on another machine, or see another library.
        # One thread: how many there are must not decide the bits, and there is a process for each core.
        self._runtime = load_runtime(bundle, threads=1, python=python)
        replay(self._runtime, bundle)

    def score(self, task: Task, folder: Path | str) -> Done:
        """Score a range and write its part, and what was set aside, below `folder`, or a URL in a bucket.

        Under their own names only once they are whole. Raises `BodyInvalid` for a file that breaks off,
        `BatchChanged` for an object that was replaced, and `RunError` if the model fails.
        """
        if not isinstance(folder, str):
            return self._score(task, folder)
        with self._spool.scratch() as scratch:
            done = self._score(task, scratch)
            return msgspec.structs.replace(
                done,
                output=self._sent(done.output, scratch, folder),
                aside=self._sent(done.aside, scratch, folder),
            )

    def _sent(self, written: Written | None, scratch: Path, url: str) -> Written | None:
        if written is None:
            return None
        digest = f"sha256:{written.sha256}"
        # Sent twice, by whomever, it is the same object: its name follows from its content.
        etag = self._spool.connect().upload(scratch / written.name, f"{url}/{written.name}", digest)
        return msgspec.structs.replace(written, etag=etag)

    def _score(self, task: Task, folder: Path) -> Done:
        file = self._spool.fetch(self._plan.files[task.file])
        table = open_table(file)
        columns = self._caster.columns(table.schema(), f"input `{file.name}`")
        chosen_by = self._where.columns if self._where is not None else ()
        wanted = [*dict.fromkeys([*columns, *self._plan.keep, *chosen_by])]
        counts = None if self._profile is None else LiveCounts(self._profile, self._signature)
        output = _PartFile(folder / task.part)
        aside = _PartFile(folder / "rejected" / task.part)
        # Rows wait for whole chunks: where a reader divides a file must not decide what runs together.
        waiting = WholeChunks(self._plan.chunk_rows)
        failed = np.zeros(len(self._checks.rules), np.int64)
        reasons: dict[str, int] = {}
        rows = left_out = 0
        try:
            for whole in table.read(task.span, wanted):
                read = whole if self._where is None else self._where.choose(whole)
                left_out += len(whole.numbers) - len(read.numbers)
                fitting = self._caster.cast(read)
                rows += len(fitting.kept) + len(fitting.rejected)
                _set_aside(aside, fitting.rejected, reasons)
                kept = _kept(read, fitting.kept, self._plan.keep)
                if len(kept):
                    failed += self._checks.counts(fitting.inputs)
                for inputs, others in waiting.add(fitting.inputs, kept):
                    self._run(inputs, others, output, counts)
            for inputs, others in waiting.rest():
                self._run(inputs, others, output, counts)
            return Done(
                part=task.part,
                rows=rows + left_out,
                scored=output.rows,
                rejected=aside.rows,
                left_out=left_out,
                output=output.close(task.part),
                aside=aside.close(f"rejected/{task.part}"),
                reasons=tuple(sorted(reasons.items(), key=lambda each: (-each[1], each[0]))[:20]),
                counts=() if counts is None else counts.drain(),
                failed=tuple(
                    (str(rule), count)
                    for rule, count in zip(self._checks.rules, failed.tolist(), strict=True)
                    if count
                ),
            )
        finally:
            # Nothing is left of a part that failed; of one that is whole nothing is removed.
            output.discard()
            aside.discard()

    def _run(
        self, inputs: Mapping[str, Array], others: pa.RecordBatch, file: _PartFile, counts: LiveCounts | None
    ) -> None:
        answers = FixedChunks(self._plan.chunk_rows).run(self._run_chunk, inputs)
        if counts is not None:
            counts.add(inputs, answers, len(others))
        # Row numbers and kept columns come first, as people look for them.
        arrays, names = list(others.columns), list(others.schema.names)
        for name, array in output_columns(self._signature.outputs, answers):
            names.append(name)
            arrays.append(array)
        file.write(pa.RecordBatch.from_arrays(arrays, names))

    def _run_chunk(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        # Row by row, as models want them: a chunk at a time stays in the processor's cache.
        return self._runtime.run_whole({name: np.ascontiguousarray(inputs[name]) for name in inputs})

    def close(self) -> None:
        """Release the model, and the copies of objects that were read."""
        self._spool.close()
        self._runtime.close()


def output_columns(tensors: Sequence[Tensor], answers: Mapping[str, Array]) -> Iterator[tuple[str, pa.Array]]:
    """Iterate over the columns of answers: those that the model names, or one for each output."""
    names = field_names(tensors)
    for tensor in tensors:
        array = answers[tensor.name]
        fields = names[tensor.name]
        if fields:
            # A tensor of one value in a row may have a second axis of that size.
            flat = array.reshape(len(array), len(fields))
            for at, field in enumerate(fields):
                yield field, _leaf(tensor, flat[:, at])
        else:
            leaf = _leaf(tensor, array.reshape(-1))
            for size in reversed(array.shape[1:]):
                leaf = pa.FixedSizeListArray.from_arrays(leaf, size)
            yield tensor.name, leaf


def output_names(signature: Signature) -> list[str]:
    """Return the columns that answers become."""
    names = field_names(signature.outputs)
    return [name for tensor in signature.outputs for name in (names[tensor.name] or (tensor.name,))]


def check_keep(keep: Sequence[str], signature: Signature) -> None:
    """Raise `UsageError` for columns to be kept whose names the output has already."""
    taken = {ROW, *output_names(signature)}
    for name in keep:
        if name in taken:
            raise UsageError("`--keep`", expected="columns that the output does not have", found=f"`{name}`")


def _leaf(tensor: Tensor, values: Array) -> pa.Array:
    if tensor.dtype == "string":
        return pa.array(values.tolist(), pa.string())
    if tensor.dtype == "float16":  # Few readers of Parquet know it; float32 holds it exactly.
        return pa.array(np.ascontiguousarray(values.astype(np.float32)))
    return pa.array(np.ascontiguousarray(values))


def _kept(read: Rows, kept: Array, names: Sequence[str]) -> pa.RecordBatch:
    """Return the numbers of the rows that fit, and the columns that go with them into the output."""
    at = pa.array(kept)
    arrays: list[pa.Array] = [read.numbers.take(at)]
    for name in names:
        if read.objects is None:
            arrays.append(read.batch.column(name).take(at))
        else:
            arrays.append(pa.array([_text(read.objects[index].get(name)) for index in kept.tolist()]))
    return pa.RecordBatch.from_arrays(arrays, [ROW, *names])


def _text(value: object) -> str | None:
    """Return a value of JSON lines, whose kind may change from row to row, as a text."""
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _set_aside(file: _PartFile, rejected: Sequence[Rejected], reasons: dict[str, int]) -> None:
    if not rejected:
        return
    for each in rejected:
        kind = _kind_of(each.reason)
        if kind in reasons or len(reasons) < 1000:  # Names of columns are few, but not bounded.
            reasons[kind] = reasons.get(kind, 0) + 1
    arrays = [
        pa.array([each.row for each in rejected], pa.int64()),
        pa.array([each.reason for each in rejected], pa.string()),
        pa.array([each.content for each in rejected], pa.string()),
    ]
    file.write(pa.RecordBatch.from_arrays(arrays, schema=REJECTED))


def _kind_of(reason: str) -> str:
    """Return a reason without what was in the row: a million different texts are one reason."""
    expected, _, actual = reason.partition(", found ")
    return reason if actual in _ALIKE else expected


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Return how columns are written: six times as fast as with pyarrow's defaults, and smaller."""
    # A dictionary of numbers that hardly ever occur twice is made, and thrown away again.
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    wholes = {field.name: "DELTA_BINARY_PACKED" for field in schema if field.type in _DELTAS}
    return {"use_dictionary": texts, "column_encoding": wholes}


class _PartFile:
    """A Parquet file that appears under its name when it is whole, and on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Another process may be at work on the same part, after this one was taken for dead.
        # Not by the number of the process, which on another machine may be the same.
        self._scratch = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; groups of rows have the same sizes however they come."""
        self.rows += len(batch)
        self._waiting.append(batch)
        self._waiting_rows += len(batch)
        if self._waiting_rows >= _GROUP_ROWS:
            with self._writing():
                self._flush(_GROUP_ROWS * (self._waiting_rows // _GROUP_ROWS))

    def _writing(self) -> AbstractContextManager[None]:
        # Said here: in a process of an engine, an error that is none of lading's would end it.
        return destination_errors(f"output `{self._path.parent}`")

    def _flush(self, count: int) -> None:
        # Schemas are equal: columns are always those of the signature and of `--keep`.
        table = pa.Table.from_batches(self._waiting)
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pyarrow.parquet.ParquetWriter(
                self._scratch, table.schema, compression="zstd", **_encodings(table.schema)
            )
        self._writer.write_table(table.slice(0, count), row_group_size=_GROUP_ROWS)
        self._waiting = table.slice(count).to_batches()
        self._waiting_rows -= count

    def close(self, name: str) -> Written | None:
        """Bring the file under its name; return None if it has no rows."""
        if not self.rows:
            return None
        with self._writing():
            return self._finish(name)

    def _finish(self, name: str) -> Written:
        if self._waiting_rows or self._writer is None:
            self._flush(self._waiting_rows)
        assert self._writer is not None
        self._writer.close()
        self._writer = None
        # On the disk before its name is: after a crash of the machine a part is whole or absent.
        with self._scratch.open("rb") as file:
            os.fsync(file.fileno())
        sha256, size = sha256_of(self._scratch), self._scratch.stat().st_size
        self._scratch.rename(self._path)
        return Written(name, self.rows, size, sha256)

    def discard(self) -> None:
        """Remove what was not finished."""
        if self._writer is not None:
            with suppress(OSError):  # On a full disk its end cannot be written either.
                self._writer.close()
            self._writer = None
        self._scratch.unlink(missing_ok=True)
