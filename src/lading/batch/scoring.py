"""Scores one range of a file into one part: reads, casts, runs and writes, whatever engine asks for it.

Every engine calls this same code with the same ranges, which is why their parts have the same bytes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from lading.batch.arrow_numpy import to_arrow
from lading.batch.casting import Caster
from lading.batch.part_file import PartFile, Written
from lading.batch.plan import Plan, Task
from lading.batch.read_ahead import read_ahead
from lading.batch.spool import Spool
from lading.batch.tables import Rejected, Rows, open_table
from lading.batch.where import Where
from lading.batch.whole_chunks import WholeChunks
from lading.bundle import Bundle
from lading.bundle.requests import request_signature
from lading.errors import LadingError, UsageError
from lading.input_checks import Rule
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

# What comes after "found" in reasons that hold no text of a row.
_ALIKE = ("no value", "NaN", "a text", "an infinity", "a number beyond float64")


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
        profile = bundle.profile
        self._counts = None if profile is None else LiveCounts(profile, self._signature)
        checks, misfits = compilable(bundle.manifest.checks)
        if misfits:
            raise misfits[0]  # Rows that nobody looked at would count as rows that pass.
        self._checks = Checks(rules_of(self._signature, profile, checks), self._signature)
        # Replayed in every process, as each may be on another machine, or see another library.
        # One thread: how many there are must not decide the bits, and there is a process for each core.
        self._runtime = load_runtime(bundle, threads=1, python=python)
        replay(self._runtime, bundle)

    def score(self, task: Task, folder: Path | str) -> Done:
        """Score a range and write its part, and what was set aside, below `folder`, or a URL in a bucket.

        Under their own names only once they are whole. Raises `BodyInvalid` for a file that breaks off,
        `BatchChanged` for an object that was replaced, and `RunError` if the model fails.
        """
        with closing(self.score_all([task], folder)) as parts:
            return next(parts)

    def score_all(self, tasks: Iterable[Task], folder: Path | str) -> Generator[Done]:
        """Score ranges one after the other, as `score` does; iterate over them as they are whole.

        What comes next is read, and the part before is brought to the disk, while the model runs.
        """
        with (
            # The last one ends first: nothing is closed that a thread still uses.
            closing(Spool()) as sending,
            ThreadPoolExecutor(1, "part") as finishing,
            closing(read_ahead(self._read(tasks))) as readings,
        ):
            last: Future[Done] | None = None
            part: _Part | None = None
            try:
                for task, read in readings:
                    part = part or _Part(task, folder, sending, self._plan.chunk_rows, self._checks.rules)
                    if read is not None:
                        self._score(read, part)
                        continue
                    for inputs, others in part.waiting.rest():
                        self._run(inputs, others, part)
                    if self._counts is not None:
                        part.counts = self._counts.drain()
                    if last is not None:
                        yield last.result()
                    last, part = finishing.submit(part.finish), None
                if last is not None:
                    yield last.result()
            except LadingError:
                # What was whole before need not be scored again once the cause is gone.
                if last is not None:
                    yield last.result()
                raise
            finally:
                if part is not None:
                    part.discard()
                    if self._counts is not None:
                        self._counts.drain()

    def _read(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Rows | None]]:
        """Iterate over the rows of each task, and None after its last ones."""
        chosen_by = self._where.columns if self._where is not None else ()
        for task in tasks:
            file = self._spool.fetch(self._plan.files[task.file])
            table = open_table(file)
            columns = self._caster.columns(table.schema(), f"input `{file.name}`")
            for rows in table.read(task.span, [*dict.fromkeys([*columns, *self._plan.keep, *chosen_by])]):
                yield task, rows
            yield task, None

    def _score(self, whole: Rows, part: _Part) -> None:
        read = whole if self._where is None else self._where.choose(whole)
        part.left_out += len(whole.numbers) - len(read.numbers)
        fitting = self._caster.cast(read)
        part.rows += len(fitting.kept) + len(fitting.rejected)
        _set_aside(part.aside, fitting.rejected, part.reasons)
        kept = _kept(read, fitting.kept, self._plan.keep)
        if len(kept):
            part.failed += self._checks.counts(fitting.inputs)
        for inputs, others in part.waiting.add(fitting.inputs, kept):
            self._run(inputs, others, part)

    def _run(self, inputs: Mapping[str, Array], others: pa.RecordBatch, part: _Part) -> None:
        answers = FixedChunks(self._plan.chunk_rows).run(self._run_chunk, inputs)
        if self._counts is not None:
            self._counts.add(inputs, answers, len(others))
        # Row numbers and kept columns come first, as people look for them.
        arrays, names = list(others.columns), list(others.schema.names)
        for name, array in output_columns(self._signature.outputs, answers):
            names.append(name)
            arrays.append(array)
        part.output.write(pa.RecordBatch.from_arrays(arrays, names))

    def _run_chunk(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        # Row by row, as models want them: a chunk at a time stays in the processor's cache.
        return self._runtime.run_whole({name: np.ascontiguousarray(inputs[name]) for name in inputs})

    def close(self) -> None:
        """Release the model, and the copies of objects that were read."""
        self._spool.close()
        self._runtime.close()


class _Part:
    """A task that is being scored: its two files, and what is known of its rows so far."""

    def __init__(
        self, task: Task, place: Path | str, sending: Spool, chunk_rows: int, rules: Sequence[Rule]
    ) -> None:
        self._name = task.part
        self._sending = sending
        self._rules = rules
        self._held = ExitStack()
        self._url = place if isinstance(place, str) else ""
        folder = self._held.enter_context(sending.scratch()) if isinstance(place, str) else place
        self._folder = folder
        self.output = self._held.enter_context(closing(PartFile(folder / task.part)))
        self.aside = self._held.enter_context(closing(PartFile(folder / "rejected" / task.part)))
        # Rows wait for whole chunks: where a reader divides a file must not decide what runs together.
        self.waiting = WholeChunks(chunk_rows)
        self.failed = np.zeros(len(rules), np.int64)
        self.reasons: dict[str, int] = {}
        self.counts: tuple[tuple[int, ...], ...] = ()
        self.rows = self.left_out = 0

    def finish(self) -> Done:
        """Bring both files under their names, and to the bucket if they belong into one."""
        with self._held:
            output = self._sent(self.output.finish(self._name))
            aside = self._sent(self.aside.finish(f"rejected/{self._name}"))
            failed = zip(self._rules, self.failed.tolist(), strict=True)
            return Done(
                part=self._name,
                rows=self.rows + self.left_out,
                scored=self.output.rows,
                rejected=self.aside.rows,
                left_out=self.left_out,
                output=output,
                aside=aside,
                reasons=tuple(sorted(self.reasons.items(), key=lambda each: (-each[1], each[0]))[:20]),
                counts=self.counts,
                failed=tuple((str(rule), count) for rule, count in failed if count),
            )

    def _sent(self, written: Written | None) -> Written | None:
        if written is None or not self._url:
            return written
        digest = f"sha256:{written.sha256}"
        # Sent twice, by whomever, it is the same object: its name follows from its content.
        source, url = self._folder / written.name, f"{self._url}/{written.name}"
        return msgspec.structs.replace(written, etag=self._sending.connect().upload(source, url, digest))

    def discard(self) -> None:
        """Remove what was not finished; of one that is whole nothing is removed."""
        self._held.close()


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
        return to_arrow(values.astype(np.float32))
    return to_arrow(values)


def _kept(read: Rows, kept: Array, names: Sequence[str]) -> pa.RecordBatch:
    """Return the numbers of the rows that fit, and the columns that go with them into the output."""
    at = to_arrow(kept)
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


def _set_aside(file: PartFile, rejected: Sequence[Rejected], reasons: dict[str, int]) -> None:
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
