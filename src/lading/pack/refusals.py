"""What the refusal of a model says: the reason of each dtype, the step that differs, and what to do about it.

Every cause that a sentence names was shown here: a step by running the pipeline up to it, chance by asking
twice, other rows by changing them. Chooses no conversion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lading.convert import Plan, Table, TrainedModel
from lading.convert import graph as onnx_graph
from lading.errors import ConversionError, ConverterFailed, InputError, ParityLost, SamplesRefused
from lading.pack.missing_values import gather_missing_values
from lading.pack.probe_rows import ProbeRows, Unseen
from lading.pack.proof import Proof
from lading.parity import Deviation, Tolerance, compare

_ROWS_AMONG = 64
_SHOWN_ROWS = 3
_SHOWN_CHARACTERS = 120
_SHOWN_VALUES = 6  # of an answer; of a wider one the value that differs is shown
_ROWS_FOR_STEPS = 64

Prove = Callable[[TrainedModel, Plan, ProbeRows, Tolerance | None], Proof]


@dataclass(frozen=True)
class Attempt:
    """One way to convert, and how it failed: it lost parity, or gave up."""

    plan: Plan
    outcome: Proof | ConversionError


@dataclass(frozen=True)
class Search:
    """What was searched: the model, the rows, and how a plan is proved."""

    trained: TrainedModel
    probe: ProbeRows
    prove: Prove


def refusal(search: Search, attempts: Sequence[Attempt], dtypes: tuple[str, ...]) -> ConversionError:
    """Return the error of a model of which no attempt held; `dtypes` are those that were tried."""
    proofs = [attempt for attempt in attempts if not isinstance(attempt.outcome, ConversionError)]
    if proofs:
        return _parity_lost(search, min(proofs, key=_excess), attempts, dtypes)
    if not attempts:
        return ConverterFailed(f"`{search.trained.title}`", expected="a way to convert it")
    first = attempts[0].outcome
    assert isinstance(first, ConversionError)
    others = _other_reasons(search, attempts[0], attempts)
    part = _failing_part(search, attempts[0].plan) if type(first) is ConverterFailed else None
    if not others and part is None:
        return first
    reason = first.found or first.message
    if others:
        reason = f"in {attempts[0].plan.dtype}: {reason}{others}"
    if part is not None:
        reason = f"{reason}; the step that cannot be converted is {part}"
    return type(first)(first.where, expected=first.expected, found=reason, hint=first.hint)


def _parity_lost(
    search: Search, nearest: Attempt, attempts: Sequence[Attempt], dtypes: tuple[str, ...]
) -> ParityLost:
    trained, probe, best = search.trained, search.probe, nearest.outcome
    assert not isinstance(best, ConversionError)
    tolerance = best.tolerance
    tried = ", ".join(dict.fromkeys(attempt.plan.dtype for attempt in attempts))
    where = f"`{trained.title}` in {tried}"
    others = _other_reasons(search, nearest, attempts)
    worst = best.parity.worst[:_SHOWN_ROWS]
    reason = "; ".join(_describe(deviation, probe, best.unseen) for deviation in worst) + others
    if _is_chance(search, best):
        return ParityLost(
            where,
            expected="the same answer each time",
            found=f"other answers in a second run: {reason}",
            hint="take what draws numbers out of the model, or draw them before and pass them as an input",
        )
    if best.alone:
        return _alone(search, best, where)
    hint = "if this difference is acceptable, pass `--rtol`, `--atol` (`tolerance=` in Python)"
    part, is_last = _differing_part(search, best)
    if part is not None:
        reason = f"{reason}; the first step that differs is {part}"
    if part is None or is_last:
        hint = f"{hint}; else retrain without the part that is converted wrongly"
    else:
        hint = f"{hint}; else do without that step, or do it before, in training and in requests"
    if "float64" not in dtypes:
        hint = f'`--dtype auto` (`dtype="auto"` in Python) tries float64 as well; {hint}'
    expected = f"the answers of {trained.expected_from} (rtol {tolerance.rtol:g}, atol {tolerance.atol:g})"
    return ParityLost(where, expected=expected, found=reason, hint=hint)


def _other_reasons(search: Search, nearest: Attempt, attempts: Sequence[Attempt]) -> str:
    """Return the reason of each other dtype, if it is another: of its attempt that came nearest."""
    reasons: dict[str, Attempt] = {}
    for attempt in attempts:
        if attempt.plan.dtype != nearest.plan.dtype:
            best = reasons.get(attempt.plan.dtype)
            if best is None or _excess(attempt) < _excess(best):
                reasons[attempt.plan.dtype] = attempt
    first = _reason(search, nearest)
    texts = [(dtype, _reason(search, attempt)) for dtype, attempt in reasons.items()]
    return "".join(f"; in {dtype}: {text}" for dtype, text in texts if text != first)


def _reason(search: Search, attempt: Attempt) -> str:
    if isinstance(attempt.outcome, ConversionError):
        return attempt.outcome.found or attempt.outcome.message
    return _describe(attempt.outcome.parity.worst[0], search.probe, attempt.outcome.unseen)


def _excess(attempt: Attempt) -> float:
    if isinstance(attempt.outcome, ConversionError):
        return float("inf")
    return max(deviation.excess for deviation in attempt.outcome.parity.worst)


def _describe(deviation: Deviation, probe: ProbeRows, unseen: str) -> str:
    """Return a deviation as text, with the row's number and values."""
    if deviation.excess == float("inf") and deviation.output.startswith("input"):
        return f"{deviation.output}: expected {deviation.expected}, found {deviation.found}"
    became = _became(deviation)
    # Rows come in the order samples, drawn rows, unseen values; only the first two are in `probe`.
    if deviation.row >= probe.table.rows or unseen != Proof.unseen:
        return f"output `{deviation.output}`, for {unseen}: {became}"
    drawn = deviation.row >= probe.sample_rows
    where = f"drawn row {deviation.row - probe.sample_rows}" if drawn else f"row {deviation.row}"
    values = ", ".join(
        str(np.asarray(array[deviation.row]).tolist())
        for array in probe.table.arrays.values()
        if array.ndim and deviation.row < len(array)  # an input of the whole call has no such row
    )
    if len(values) > _SHOWN_CHARACTERS:
        values = f"{values[:_SHOWN_CHARACTERS]}…"
    return f"output `{deviation.output}`, {where} ({values}): {became}"


def _became(deviation: Deviation, names: Sequence[str] = ()) -> str:
    """Return the expected answer and the other; of a wide one the value that differs most."""
    expected, answer = (np.asarray(value) for value in (deviation.expected, deviation.found))
    wide = expected.size > _SHOWN_VALUES or bool(names)
    if not wide or expected.shape != answer.shape or expected.dtype.kind not in "fiu" or not expected.size:
        return f"{deviation.expected} became {deviation.found}"
    with np.errstate(invalid="ignore"):
        difference = np.nan_to_num(np.abs(expected.astype(np.float64) - answer), nan=np.inf)
    at = int(difference.argmax())
    name = f"`{names[at]}`" if len(names) == expected.size else f"value {at}"
    return f"{name}: {expected.ravel()[at]} became {answer.ravel()[at]}"


def _is_chance(search: Search, proof: Proof) -> bool:
    """Return whether the converted model answers the same rows otherwise in a second run."""
    signature = proof.conversion.signature
    run = onnx_graph.evaluator(search.trained.title, proof.conversion.model)
    few = _few(search.probe, ())
    try:
        inputs = signature.cast(few.feed(signature.inputs))
        once, twice = run(inputs), run(inputs)
    except InputError:
        return False  # the values that the signature cannot have are the reason
    return not compare(signature.outputs, once, twice, proof.tolerance).holds


def _alone(search: Search, proof: Proof, where: str) -> ParityLost:
    """Say why a row has another answer alone: because of the other rows' values, or only of their number."""
    deviation = proof.parity.worst[0]
    expected = "the same answer for a row alone and among others"
    reason = str(deviation)
    if _others_matter(search, proof, deviation.row):
        hint = "a model whose answer to a row depends on the other rows cannot be served by rows"
        return ParityLost(
            where, expected=expected, found=f"{reason}; other values in the other rows change it", hint=hint
        )
    reason = f"{reason}; the values of the other rows change nothing, only their number does"
    hint = "small differences of this kind are rounding: pass `--rtol`, `--atol` (`tolerance=` in Python)"
    return ParityLost(where, expected=expected, found=reason, hint=hint)


def _others_matter(search: Search, proof: Proof, row: int) -> bool:
    """Return whether a row's answer changes with the values of the other rows, which stay as many."""
    signature, table = proof.conversion.signature, search.probe.table
    run = onnx_graph.evaluator(search.trained.title, proof.conversion.model)
    rows = min(table.rows, max(_ROWS_AMONG, row + 1))
    answers = []
    # The others as they are, all like the row itself, and all like the one behind it.
    for others in (np.arange(rows), np.full(rows, row), np.full(rows, (row + 1) % rows)):
        others[row] = row
        answer = run(signature.cast(table.take(others).feed(signature.inputs)))
        answers.append({name: array[row : row + 1] for name, array in answer.items()})
    return any(
        not compare(signature.outputs, answers[0], changed, proof.tolerance).holds for changed in answers[1:]
    )


def _differing_part(search: Search, proof: Proof) -> tuple[str | None, bool]:
    """Return the first step of a pipeline after which the answers differ, and whether it is the last.

    The step is described with the value that shows it; or None if nothing can be shown.
    """
    before = ""
    deviations = proof.parity.worst
    for title, part in search.trained.parts():
        try:
            probe = _probe_of(part, search.probe, proof, [deviation.row for deviation in deviations])
            plan = _same_plan(part, proof.plan, probe.table)
            part_proof = search.prove(part, plan, probe, None) if plan is not None else None
        except ConversionError:
            continue  # a step that has no answers of its own
        if part_proof is None:
            return None, False
        if not part_proof.parity.holds:
            worst = part_proof.parity.worst[0]
            columns = part_proof.conversion.signature.outputs[0].columns
            return f"{title}{before}: {_became(worst, columns)}", part is search.trained
        before = f" (before it nothing differs by more than {part_proof.parity.max_abs_error:.1g})"
    return None, False


def _failing_part(search: Search, plan: Plan) -> str | None:
    """Return the first step up to which a pipeline cannot be converted."""
    for title, part in search.trained.parts():
        try:
            table = _few(search.probe, ())
            expected = part.outputs(table)
            same = _same_plan(part, plan, table)
            if same is not None:
                same.convert(table, expected)
        except SamplesRefused:
            continue  # a step that has no answers of its own
        except ConversionError:
            return title
    return None


def _probe_of(part: TrainedModel, probe: ProbeRows, proof: Proof, rows: Sequence[int]) -> ProbeRows:
    """Return rows for a part of the model: a few, those at `rows`, and what else the proof failed on."""
    table = _few(probe, rows)
    unseen, missing = [], None
    if any(row >= probe.table.rows for row in rows):
        unseen = [Unseen(rare.title, rare.table, part.outputs(rare.table)) for rare in probe.unseen]
    if probe.missing is not None and proof.unseen != Proof.unseen:
        missing = gather_missing_values(part, table)
    return ProbeRows(table, part.outputs(table), table.rows, tuple(unseen), missing)


def _few(probe: ProbeRows, rows: Sequence[int]) -> Table:
    if len({array.shape[:1] for array in probe.table.arrays.values()}) > 1:
        return probe.table  # its inputs have no rows in common
    first = range(min(_ROWS_FOR_STEPS, probe.table.rows))
    inside = [row for row in rows if row < probe.table.rows]
    return probe.table.take(np.unique([*first, *inside]).astype(np.intp))


def _same_plan(part: TrainedModel, plan: Plan, table: Table) -> Plan | None:
    return next((own for own in part.plans(table, (plan.dtype,)) if own.form == plan.form), None)
