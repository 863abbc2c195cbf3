"""A batch run from its inputs to its manifest: planned, scored by an engine, judged, published."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from lading.batch.casting import Caster
from lading.batch.drift import drift_of
from lading.batch.engines.named import engine
from lading.batch.inputs import Inputs, find_inputs, is_unchanged, sha256_of
from lading.batch.ledger import MANIFEST, Ledger, Manifest
from lading.batch.plan import Plan, make_plan
from lading.batch.recording import Recorder
from lading.batch.scoring import Done, check_keep
from lading.batch.tables import open_table
from lading.batch.work import Work
from lading.bundle import Bundle
from lading.bundle.requests import request_signature
from lading.errors import BatchChanged, GateNotMet, InputMissing, NotSupported, UsageError
from lading.runs import ColumnDrift
from lading.runtime.host.cpus import cpu_limit
from lading.runtime.python.host import DEFAULT_HOST, PythonHost


class BatchRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has done. ``seconds`` and ``rows_per_s`` are of this call, 0 if all was done before.

    ``failed`` has the input checks that rows failed, and how many; those rows are scored all the same.
    """

    manifest: Manifest
    drift: tuple[ColumnDrift, ...]
    failed: tuple[tuple[str, int], ...]
    left_out: tuple[str, ...]
    resumed: int
    seconds: float
    rows_per_s: float


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a run goes: the engine, columns to keep, processes (0: one for each CPU), and what stops it."""

    engine: str = "local"
    keep: tuple[str, ...] = ()
    processes: int = 0
    max_rejected: float | None = None
    refuse_drift: bool = False


def run_batch(
    bundle: Bundle,
    paths: Sequence[Path],
    folder: Path,
    options: Options | None = None,
    *,
    model: str = "",
    python: PythonHost = DEFAULT_HOST,
    recorder: Recorder | None = None,
) -> BatchRun:
    """Score all rows of the files at `paths` into `folder`, or go on with what was begun there.

    Nothing is written before every file has been found to fit, and nothing is published before all is
    scored. Raises `InputError` for files that do not fit, `BatchChanged`, `DestinationExists`, `GateNotMet`
    for too many rows set aside or drift, and what loading and running a model raise.
    """
    options, recorder = options or Options(), recorder or Recorder()
    score = engine(options.engine)
    # Outside of the folder's lock: nothing of a run that is refused is written.
    inputs = find_inputs(paths)
    plan = _planned(bundle, inputs, options, model)
    ledger = Ledger(folder)
    with ledger.holding(), recorder.recording(plan, folder.resolve(), options.engine):
        ledger.begin(plan)
        done = ledger.done(plan)
        resumed = len(done)
        began = time.monotonic()
        left = [task for task in plan.tasks if task.part not in done]
        processes = options.processes or cpu_limit()
        work = Work(bundle.path, bundle.digest, plan, ledger.parts, python)
        recorder.scored(done.values(), before=True)
        for each in score(work, left, processes):
            ledger.record(each)
            done[each.part] = each
            _check_rejected(done, options.max_rejected)
            recorder.scored([each])
        seconds = time.monotonic() - began
        # Somebody may have written to a file while it was read.
        _check_unchanged(inputs)
        ordered = [done[task.part] for task in plan.tasks]
        drift = drift_of(bundle.profile, ordered)
        recorder.judged(drift, _failed(ordered))
        _check_drift(drift, refuse=options.refuse_drift)
        manifest = ledger.finished() or ledger.publish(plan, ordered)
        recorder.published(manifest, sha256_of(folder / MANIFEST))
    # Of this call alone: what was done before took no time now.
    scored_now = sum(done[task.part].rows for task in left)
    return BatchRun(
        manifest=manifest,
        drift=drift,
        failed=_failed(ordered),
        left_out=inputs.left_out,
        resumed=resumed,
        seconds=seconds if left else 0.0,
        rows_per_s=scored_now / seconds if left and seconds else 0.0,
    )


def _planned(bundle: Bundle, inputs: Inputs, options: Options, model: str) -> Plan:
    """Return the plan, once every file is known to have the columns. Raises `InputError`, `NotSupported`."""
    signature = bundle.manifest.signature
    if not signature.batched:
        where = f"`{bundle.manifest.name}`"
        raise NotSupported(where, expected="a model whose rows are independent", found="another")
    if options.refuse_drift and bundle.profile is None:
        # What is not known must not pass for what is not wrong.
        where, hint = "`--refuse-drift`", "`lading pack --reference` measures one"
        expected = "a bundle with a profile of its training data"
        raise UsageError(where, expected=expected, found="one without", hint=hint)
    check_keep(options.keep, signature)
    caster = Caster(request_signature(bundle.manifest, bundle.samples()))
    for file in inputs.files:
        where, table = f"input `{file.name}`", open_table(file)
        schema = table.schema()
        if table.groups() == []:
            continue  # A file without rows has none that does not fit.
        caster.columns(schema, where)
        for name in options.keep:
            if schema is not None and name not in schema.names:
                raise InputMissing(where, expected=f"column `{name}`, which is to be kept", found="none")
    return make_plan(inputs.files, bundle.digest, model or bundle.manifest.name, signature, options.keep)


def _failed(done: Sequence[Done]) -> tuple[tuple[str, int], ...]:
    """Return the input checks that rows have failed, the most often failed one first."""
    counts: dict[str, int] = {}
    for each in done:
        for rule, count in each.failed:
            counts[rule] = counts.get(rule, 0) + count
    # Equal counts by name, so that the order is always the same.
    return tuple(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _check_rejected(done: dict[str, Done], most: float | None) -> None:
    # Of what was read so far: a run of hours need not end to be too bad.
    rows = sum(each.rows for each in done.values())
    rejected = sum(each.rejected for each in done.values())
    if most is not None and rejected > most * rows:
        hint = "the rows and their reasons are below `.lading/parts/rejected`"
        actual = f"{rejected:,} of {rows:,}"
        raise GateNotMet("rows set aside", expected=f"at most {100 * most:g} %", found=actual, hint=hint)


def _check_unchanged(inputs: Inputs) -> None:
    """Raise `BatchChanged` if a file is not the one that the plan was made of."""
    for file in inputs.files:
        if not is_unchanged(file):
            where = f"input `{file.name}`"
            hint = "score a copy that nobody writes to, into another folder"
            raise BatchChanged(where, expected="the bytes it had at the start", found="others", hint=hint)


def _check_drift(drift: Sequence[ColumnDrift], *, refuse: bool) -> None:
    drifted = [column for column in drift if column.drifted]
    if refuse and drifted:
        worst = max(drifted, key=lambda column: column.psi)
        raise GateNotMet(
            f"column `{worst.column}`",
            expected="the distribution of the training data",
            found=f"another, PSI {worst.psi:.2f}" + (f", and {len(drifted) - 1} more" if drifted[1:] else ""),
            hint="without `--refuse-drift` the run is published and says so",
        )


def report_values(run: BatchRun) -> dict[str, Any]:
    """Return a run as JSON output has it."""
    return msgspec.to_builtins(run)  # type: ignore[no-any-return]
