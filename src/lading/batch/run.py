"""A batch run from its inputs to its manifest: planned, scored by an engine, judged, published."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from lading.batch.casting import Caster
from lading.batch.drift import drift_of
from lading.batch.engines import Engine
from lading.batch.engines.named import engine as engine_named
from lading.batch.inputs import InputFile, Inputs, check_unchanged, find_inputs
from lading.batch.ledger import Ledger, Manifest
from lading.batch.objects import is_url
from lading.batch.plan import Plan, make_plan
from lading.batch.recording import Recorder
from lading.batch.scoring import Done, check_keep
from lading.batch.spool import Spool, spooling
from lading.batch.survey import look_at
from lading.batch.tables import open_table
from lading.batch.traffic import Logged, RunLog
from lading.batch.where import Where
from lading.batch.work import Refused, Work
from lading.blobs.os_errors import destination_errors
from lading.bundle import Bundle
from lading.bundle.requests import request_signature
from lading.errors import GateNotMet, InputMissing, NotSupported, UsageError, ValueRefused
from lading.runs import ColumnDrift
from lading.runtime.python.host import DEFAULT_HOST, PythonHost


class BatchRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has done. ``seconds`` and ``rows_per_s`` are of this call, 0 if all was done before.

    ``failed`` has the input checks that rows failed, and how many; those rows are scored all the same.
    ``refused`` are machines that were kept from scoring.
    """

    manifest: Manifest
    drift: tuple[ColumnDrift, ...]
    failed: tuple[tuple[str, int], ...]
    left_out: tuple[str, ...]
    refused: tuple[Refused, ...]
    resumed: int
    seconds: float
    rows_per_s: float
    logged: Logged | None = None


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a run goes: the engine, columns to keep, processes (0: one for each CPU), and what stops it.

    ``address`` is that of the engine's cluster, if it has one.
    ``where`` chooses the rows that are scored, by an expression over columns of the files. ``log`` is the
    folder of a prediction log that gets a ``log_share`` of the rows.
    """

    engine: str = "local"
    address: str = ""
    keep: tuple[str, ...] = ()
    where: str = ""
    processes: int = 0
    max_rejected: float | None = None
    refuse_drift: bool = False
    log: str = ""
    log_share: float = 1.0


def run_batch(
    bundle: Bundle,
    paths: Sequence[Path | str],
    output: Path | str,
    options: Options | None = None,
    *,
    model: str = "",
    python: PythonHost = DEFAULT_HOST,
    recorder: Recorder | None = None,
) -> BatchRun:
    """Score all rows of the files at `paths` into `output`, or go on with what was begun there.

    Each is a path of this machine, or the text ``s3://bucket/…``. Nothing is written before every file has
    been found to fit, and nothing is published before all is scored. Raises `InputError` for files that do
    not fit, `BatchChanged`, `DestinationExists`, `OutputInUse`, `GateNotMet` for too many rows set aside
    or drift, `RegistryUnavailable` for a bucket out of reach, and what loading and running a model raise.
    """
    options, recorder = options or Options(), recorder or Recorder()
    with ExitStack() as held:
        engine = held.enter_context(closing(_engine(options, output)))
        # Objects that are read for the plan are still here when they are scored, if there is room.
        spool = held.enter_context(spooling())
        ledger = Ledger(output)
        # Outside of the lock: nothing of a run that is refused is written.
        inputs = find_inputs(paths, spool.connect, lambda size: engine.expect(size, options.processes))
        plan = _planned(bundle, inputs, options, model, spool, ledger.begun())
        held.enter_context(ledger.holding())
        held.enter_context(recorder.recording(plan, _whole_name(output), options.engine))
        ledger.begin(plan)
        done = ledger.done(plan)
        began = time.monotonic()
        left = [task for task in plan.tasks if task.part not in done]
        work = Work(bundle.path, bundle.digest, plan, ledger.parts, python, options.address)
        recorder.scored(done.values(), before=True)
        # Closed at once where the run is given up: what keeps the error would keep the processes.
        with closing(engine.score(work, left, options.processes)) as answers:
            refused = _collect(answers, done, ledger, recorder, options.max_rejected)
        seconds = time.monotonic() - began
        # Somebody may have written to a file while it was read.
        check_unchanged(plan.files, spool.connect)
        ordered = [done[task.part] for task in plan.tasks]
        drift = _judged(bundle, ordered, recorder, refuse=options.refuse_drift)
        # Of a run that was finished before, nothing is written; its manifest must be this one.
        manifest = ledger.publish(plan, ordered)
        recorder.published(manifest, ledger.manifest_sha256())
        logged = _log(bundle, plan, manifest, output, options, spool)
        recorder.counted(bundle, plan, ordered, seconds)
    # Of this call alone: what was done before took no time now.
    rows_now = sum(done[task.part].rows for task in left)
    return BatchRun(
        manifest=manifest,
        drift=drift,
        failed=_failed(ordered),
        left_out=inputs.left_out,
        refused=tuple(refused),
        resumed=len(ordered) - len(left),
        seconds=seconds if left else 0.0,
        rows_per_s=rows_now / seconds if left and seconds else 0.0,
        logged=logged,
    )


def _whole_name(output: Path | str) -> Path | str:
    # People read it elsewhere, where a path from this folder would mean nothing.
    return output if is_url(output) else Path(output).resolve()


def _log(
    bundle: Bundle, plan: Plan, manifest: Manifest, output: Path | str, options: Options, spool: Spool
) -> Logged | None:
    """Write the rows into the prediction log, each once, after all is published, if it is to have them."""
    if not options.log:
        return None
    log = RunLog(bundle, plan, Path(options.log), share=options.log_share, now=time.time())
    with destination_errors(f"prediction log `{options.log}`"):
        return log.write(manifest, Path(output), spool)


def _engine(options: Options, output: Path | str) -> Engine:
    """Return the engine; raises `UsageError` for a log that rows of this run cannot be written to."""
    if options.log and ("://" in options.log or is_url(output)):
        actual = f"`{options.log}` for `{output}`"
        raise UsageError("`--log`", expected="a log and an output in folders of this machine", found=actual)
    return engine_named(options.engine)


def _collect(
    answers: Iterable[Done | Refused],
    done: dict[str, Done],
    ledger: Ledger,
    recorder: Recorder,
    max_rejected: float | None,
) -> list[Refused]:
    """Write parts down as they are done, and add them to `done`; return the machines that were refused."""
    refused = []
    for each in answers:
        if isinstance(each, Refused):
            refused.append(each)
            continue
        ledger.record(each)
        done[each.part] = each
        _check_rejected(done, max_rejected)
        recorder.scored([each])
    return refused


def _planned(
    bundle: Bundle, inputs: Inputs, options: Options, model: str, spool: Spool, begun: Plan | None
) -> Plan:
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
    keep = tuple(dict.fromkeys(options.keep))
    check_keep(keep, signature)
    caster = Caster(request_signature(bundle.manifest, bundle.samples()))
    kinds: dict[str, tuple[pa.DataType, str]] = {}
    chosen_by = Where(options.where) if options.where else None

    def check(file: InputFile) -> None:
        table, named = open_table(file), f"input `{file.name}`"
        schema = table.schema()
        if table.groups() == []:
            return  # A file without rows has none that does not fit.
        needed = caster.columns(schema, named)
        _check_kept(keep, schema, named, kinds)
        if chosen_by is not None:
            chosen_by.check(table, named, needed)

    files, spans = look_at(inputs.files, spool, check, begun)
    name = model or bundle.manifest.name
    text = chosen_by.text if chosen_by is not None else ""
    return make_plan(files, bundle.digest, name, signature, keep, text, spans=spans)


def _check_kept(
    keep: Sequence[str], schema: pa.Schema | None, where: str, kinds: dict[str, tuple[pa.DataType, str]]
) -> None:
    """Raise `InputError` unless a file has the columns to be kept, each once and as in the files before."""
    for name in keep:
        times = 1 if schema is None else schema.names.count(name)
        if times != 1:
            actual = "it several times" if times else "none"
            raise InputMissing(where, expected=f"column `{name}` once, which is to be kept", found=actual)
        kind = pa.string() if schema is None else schema.field(name).type
        first, owner = kinds.setdefault(name, (kind, where))
        # What reads the folder of the output as one table could not.
        if kind != first:
            hint = "give the files one type, or score them into two folders"
            expected = f"`{first}` as in {owner}"
            raise ValueRefused(f"{where}, column `{name}`", expected=expected, found=f"`{kind}`", hint=hint)


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
    rows = sum(each.rows - each.left_out for each in done.values())
    rejected = sum(each.rejected for each in done.values())
    if most is not None and rejected > most * rows:
        hint = "the rows and their reasons are below `.lading/parts/rejected`"
        actual = f"{rejected:,} of {rows:,}"
        raise GateNotMet("rows set aside", expected=f"at most {100 * most:g} %", found=actual, hint=hint)


def _judged(
    bundle: Bundle, done: Sequence[Done], recorder: Recorder, *, refuse: bool
) -> tuple[ColumnDrift, ...]:
    """Return the columns of the whole run; raises `GateNotMet` if one has drifted, and that is refused."""
    drift = drift_of(bundle.profile, done)
    recorder.judged(drift, _failed(done))
    _check_drift(drift, refuse=refuse)
    return drift


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
