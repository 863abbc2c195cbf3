"""A finished run as if its rows had been asked: records for the prediction log, counts for the monitor.

What was scored is read again beside its answers; nothing is scored here, and nothing of a run is changed.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet

from lading.batch.casting import Caster
from lading.batch.ledger import Manifest
from lading.batch.plan import Plan, Task
from lading.batch.scoring import ROW, Done, output_names
from lading.batch.spool import Spool
from lading.batch.tables import open_table
from lading.batch.where import Where
from lading.bundle import Bundle
from lading.bundle.requests import request_signature
from lading.errors import BatchChanged
from lading.input_checks.stated_rules import compilable, rules_of
from lading.log_frames import Answers, field_names, part_of, times_to_bytes
from lading.monitor.log.files import complete, completed, write_file
from lading.monitor.log.layout import Contents
from lading.monitor.log.records import answer_batches
from lading.profile.encoding import digest as digest_of
from lading.profile.live import BATCH_RUN, ColumnWindow
from lading.signature import Array, Signature

MOST_COUNTED = 30_000
"""Rows of a run that a window counts: as many as of a busy server, so that neither outweighs the other."""

_GROUP_ROWS = 32_768
_IDS = 2**32


class Logged(msgspec.Struct, frozen=True):
    """Records that the log has now, and how many of them it had before."""

    records: int
    before: int


class RunLog:
    """Writes the rows of one run into the log in the folder `root`, a file for each part, each once.

    `share` of the rows is logged, chosen by their ids as a server chooses requests.
    """

    def __init__(self, bundle: Bundle, plan: Plan, root: Path, *, share: float = 1.0, now: float) -> None:
        self._plan, self._root, self._now = plan, root, now
        self._most = int(share * _IDS)
        self._signature = bundle.manifest.signature
        self._caster = Caster(request_signature(bundle.manifest, bundle.samples()))
        self._where = Where(plan.where) if plan.where else None
        name, _, version = plan.model.partition(":")
        self._name, self._version = name, int(version or 0)

    def write(self, manifest: Manifest, output: Path, spool: Spool) -> Logged:
        """Write what the log lacks. Raises `BatchChanged` if inputs or output are not those of the run."""
        records = before = 0
        for task, part in zip(self._plan.tasks, manifest.parts, strict=True):
            if part.output is None:
                continue
            known = self._known(task)
            if known is not None:
                rows = pyarrow.parquet.read_metadata(known).num_rows
                records, before = records + rows, before + rows
                continue
            answers = pyarrow.parquet.read_table(output / part.output.name, memory_map=True)
            records += self._write(task, answers, spool)
        return Logged(records, before)

    def _known(self, task: Task) -> Path | None:
        # In any hour: the same rows by the same bundle are the same records, whenever they are written.
        return next(self._root.glob(f"model={self._name}/date=*/hour=*/{_file_name(task)}"), None)

    def _write(self, task: Task, answers: pa.Table, spool: Spool) -> int:
        counted = 0

        def tables(parts: Iterator[tuple[Contents, pa.RecordBatch]]) -> Iterator[pa.Table]:
            nonlocal counted
            for contents, batch in parts:
                counted += len(batch)
                yield complete(pa.Table.from_batches([batch]), contents)

        parts = self._records(task, answers, spool)
        first = next(parts, None)
        if first is None:  # The share has chosen none.
            return 0
        contents, batch = first
        path = self._root / contents.folder / _file_name(task)
        schema = completed(batch.schema, contents)
        write_file(path, self._root, schema, tables(itertools.chain([first], parts)))
        return counted

    def _records(
        self, task: Task, answers: pa.Table, spool: Spool
    ) -> Iterator[tuple[Contents, pa.RecordBatch]]:
        file = spool.fetch(self._plan.files[task.file])
        table, named = open_table(file), f"input `{file.name}`"
        by = self._where.columns if self._where is not None else ()
        wanted = [*dict.fromkeys([*self._caster.columns(table.schema(), named), *by])]
        at = 0
        for whole in table.read(task.span, wanted):
            read = whole if self._where is None else self._where.choose(whole)
            fitting = self._caster.cast(read)
            numbers = read.numbers.take(pa.array(fitting.kept))
            beside = answers.slice(at, len(numbers))
            if not beside.column(ROW).combine_chunks().equals(numbers):
                raise BatchChanged(named, expected="the rows that were scored", found="others")
            at += len(numbers)
            ids = [f"{self._plan.identity[:16]}-{task.file}-{row}".encode() for row in numbers.to_pylist()]
            chosen = [place for place, each in enumerate(ids) if zlib.crc32(each) < self._most]
            for start in range(0, len(chosen), _GROUP_ROWS):
                places = np.array(chosen[start : start + _GROUP_ROWS])
                inputs = {name: array[places] for name, array in fitting.inputs.items()}
                yield self._record([ids[place] for place in places], inputs, beside.take(pa.array(places)))

    def _record(
        self, ids: list[bytes], inputs: dict[str, Array], answers: pa.Table
    ) -> tuple[Contents, pa.RecordBatch]:
        """Return rows as records, by the code that makes them of a server's answers."""
        count, names = len(ids), field_names(self._signature.inputs)
        encoded = [
            part_of("inputs", tensor.name, np.ascontiguousarray(inputs[tensor.name]), names[tensor.name])
            for tensor in self._signature.inputs
        ]
        frame = Answers(
            model=self._name,
            version=self._version,
            digest=self._plan.bundle,
            release=0,
            replica=BATCH_RUN,
            ids=ids,
            rows=[1] * count,
            side="live",
            statuses=[200],
            errors=[],
            latencies_s=times_to_bytes([0.0] * count),
            ended_at=times_to_bytes([self._now] * count),
            warnings=[],
            parts=[part for part, _ in encoded],
        )
        body = memoryview(b"".join(data for _, data in encoded))
        # One moment is in one hour.
        ((contents, batch),) = answer_batches(frame, body)
        # Nobody waited for an answer: a mean over the log must not count zeros.
        at = batch.schema.get_field_index("latency_s")
        batch = batch.set_column(at, "latency_s", pa.nulls(count, pa.float64()))
        return contents, batch.append_column("outputs", _outputs(self._signature, answers))


def _file_name(task: Task) -> str:
    return f"batch-{task.part.removeprefix('part-')}"


def _outputs(signature: Signature, answers: pa.Table) -> pa.StructArray:
    """Return answers as one column: a field for each, with lists as the log has them."""
    names = output_names(signature)
    columns = [answers.column(name).combine_chunks() for name in names]
    return pa.StructArray.from_arrays([column.cast(_listed(column.type)) for column in columns], names)


def _listed(kind: pa.DataType) -> pa.DataType:
    return pa.list_(_listed(kind.value_type)) if pa.types.is_fixed_size_list(kind) else kind


def window_of(
    bundle: Bundle, plan: Plan, done: Sequence[Done], *, identity: str, now: float, seconds: float
) -> ColumnWindow | None:
    """Return the counts of a whole run as a server would report them, or None without a profile or rows.

    The same run has the same counts and the same `identity`, by which a catalog counts it once.
    """
    scored = sum(each.scored for each in done)
    if bundle.profile is None or not scored:
        return None
    name, _, version = plan.model.partition(":")
    draw = np.random.default_rng(int(plan.identity[:16], 16))
    totals = (
        np.sum(counts, axis=0) for counts in zip(*(each.counts for each in done if each.counts), strict=True)
    )
    share = min(1.0, MOST_COUNTED / scored)
    rules = rules_of(bundle.manifest.signature, bundle.profile, compilable(bundle.manifest.checks)[0])
    place_of = {str(rule): (rule.column, rule.kind) for rule in rules}
    failed: dict[tuple[str, str], int] = {}
    for each in done:
        for rule, count in each.failed:
            failed[place_of[rule]] = failed.get(place_of[rule], 0) + count
    return ColumnWindow(
        name=name,
        version=int(version or 0),
        digest=plan.bundle,
        release=0,
        replica=BATCH_RUN,
        profile=digest_of(bundle.profile),
        at=now - seconds,
        seconds=seconds,
        rows=min(scored, MOST_COUNTED),
        seen=scored,
        counts=tuple(_drawn(counts, share, draw) for counts in totals),
        checked=scored if place_of else 0,
        failures=tuple((column, kind, count) for (column, kind), count in sorted(failed.items())),
        id=identity[:16],
    )


def _drawn(counts: Array, share: float, draw: np.random.Generator) -> tuple[int, ...]:
    """Return the counts of a share of the rows, drawn at random; of all of them as they are."""
    total = int(counts.sum())
    if share >= 1.0:
        return tuple(int(count) for count in counts)
    # Each column by itself: only whole columns are compared.
    return tuple(draw.multivariate_hypergeometric(counts, round(total * share), method="marginals").tolist())
