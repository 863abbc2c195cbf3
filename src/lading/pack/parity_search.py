"""The search for a conversion that answers as its framework does, and with it for the dtype.

Compares; converts nothing itself and writes nothing. A conversion that does not hold is refused with the rows
that show it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np
from msgspec import structs

from lading.convert import Conversion, Plan, TrainedModel
from lading.convert import graph as onnx_graph
from lading.convert.undecided import decided_rows
from lading.errors import ConversionError, ConverterFailed, InputError
from lading.onnx_runtime.refusals import Refused
from lading.pack.margins import margins
from lading.pack.missing_values import MissingValues, allowing, missing_columns, place_of
from lading.pack.probe_rows import ProbeRows, Unseen, stacked
from lading.pack.proof import Proof
from lading.pack.refusals import Attempt, Search, refusal
from lading.parity import Deviation, Parity, Tolerance, compare
from lading.signature import Array, Signature, Tensor

_ROWS_ALONE = 8
_MOST_UNDECIDED = 0.05


def find_conversion(
    trained: TrainedModel, probe: ProbeRows, dtypes: tuple[str, ...], tolerance: Tolerance | None
) -> tuple[Proof, list[str]]:
    """Return the first conversion that holds, and notes about those that did not.

    A conversion in which near ties fell the other way is chosen only if all others have some, too.
    Raises `ConversionError` with the reason of each dtype, the one that came nearest first.
    """
    attempts: list[Attempt] = []
    tied: Proof | None = None
    for plan in trained.plans(probe.table, dtypes):
        try:
            proof = prove(trained, plan, probe, tolerance)
        except ConversionError as error:
            attempts.append(Attempt(plan, error))
            continue
        if proof.parity.holds and not proof.ties.any():
            return proof, _notes(proof, attempts)
        if proof.parity.holds:
            tied = tied or proof
        else:
            attempts.append(Attempt(plan, proof))
    if tied is not None:
        return tied, [*_notes(tied, attempts), _tie_note(tied, probe)]
    raise refusal(Search(trained, probe, prove), attempts, dtypes)


def prove(trained: TrainedModel, plan: Plan, probe: ProbeRows, tolerance: Tolerance | None) -> Proof:
    """Convert by `plan` and compare all rows with the framework's answers; raises `ConversionError`."""
    conversion = plan.convert(*probe.samples())
    signature = conversion.signature
    tolerance = tolerance or _allowing(
        usual_tolerance({tensor.name: probe.expected[tensor.name] for tensor in signature.outputs}),
        conversion.rounding,
    )
    probe = _with_accepted_unseen(probe, signature)
    expected = {tensor.name: _as_output(tensor, probe.expected[tensor.name]) for tensor in signature.outputs}
    try:
        inputs = signature.cast(probe.table.feed(signature.inputs))
    except InputError as error:
        return _unrepresentable(plan, conversion, tolerance, error)
    run = onnx_graph.evaluator(trained.title, conversion.model)
    batched = signature.batched
    samples = probe.sample_rows
    decided = np.flatnonzero(decided_rows(conversion.model, run, inputs)) if batched else None
    if decided is not None and len(decided) < probe.table.rows:
        probe, inputs = probe.take(decided), {name: array[decided] for name, array in inputs.items()}
        expected = {name: array[decided] for name, array in expected.items()}
    undecided = samples - probe.sample_rows
    if undecided > _MOST_UNDECIDED * samples:
        raise _too_often_undecided(trained, undecided, samples)
    answers = onnx_graph.evaluate_rows(run, inputs) if batched else run(inputs)
    ties = near_ties(expected, answers, tolerance)
    parity = compare(signature.outputs, expected, _excused(expected, answers, ties), tolerance)
    if parity.holds and batched:
        clear = ~_near_a_tie(expected, tolerance)
        alone = _deviation_alone(signature, run, inputs, answers, clear, tolerance)
        if alone is not None:
            return Proof(plan, conversion, tolerance, alone, ties, alone=True)
    proof = Proof(plan, conversion, tolerance, parity, ties, undecided=undecided)
    other = _deviating_call(proof, probe.calls, run) if parity.holds else None
    if other is not None:
        return other
    return _with_missing_values(proof, probe, run) if parity.holds else proof


def unchecked_inputs(trained: TrainedModel, proof: Proof, probe: ProbeRows) -> list[str]:
    """Note the values that the framework refuses and the packed model answers: those answers are unproved."""
    refused = [unseen for unseen in (*probe.unseen, *probe.calls) if unseen.expected is None]
    if not refused:
        return []  # Opening another session would take the size of the model.
    signature = proof.conversion.signature
    run = onnx_graph.evaluator(trained.title, proof.conversion.model)
    notes = []
    for unseen in refused:
        try:
            run(signature.cast(unseen.table.feed(signature.inputs)))
        except (InputError, ConverterFailed):
            continue  # the packed model refuses it as well
        notes.append(f"{unseen.title}: {trained.title} refuses it, but the packed model answers")
    return notes


def _deviating_call(proof: Proof, calls: Sequence[Unseen], run: onnx_graph.Evaluate) -> Proof | None:
    """Return the proof that fails on the first call of other sizes with other answers, or None."""
    signature = proof.conversion.signature
    for call in calls:
        if call.expected is None:
            continue
        try:
            answers = run(signature.cast(call.table.feed(signature.inputs)))
        except InputError as error:
            return replace(
                _unrepresentable(proof.plan, proof.conversion, proof.tolerance, error), unseen=call.title
            )
        except ConverterFailed as error:
            reason = f"for {call.title}: {error.found or error.message}"
            raise ConverterFailed(
                error.where, expected=error.expected, found=reason, hint=error.hint
            ) from error
        expected = {
            tensor.name: _as_output(tensor, call.expected[tensor.name]) for tensor in signature.outputs
        }
        ties = near_ties(expected, answers, proof.tolerance)
        parity = compare(signature.outputs, expected, _excused(expected, answers, ties), proof.tolerance)
        if not parity.holds:
            return replace(proof, parity=parity, unseen=call.title)
    return None


def usual_tolerance(expected: Mapping[str, Array]) -> Tolerance:
    """Return the tolerance for outputs of this size.

    A number may be off by a ten-thousandth of itself, and near zero by a hundred-thousandth of what is usual
    in the output (in its smallest column), rounded up to a power of ten. It is the same in float32 and
    float64: it says what a caller may rely on, not what the dtype could do.
    """
    # float32 keeps seven decimal digits (IEEE 754: 24 bits), of which long sums lose two or three.
    sizes = [
        _usual_size(array)
        for name, array in expected.items()
        if array.dtype.kind == "f" and name != "probabilities"
    ]
    smallest = min(sizes, default=1.0)
    power = np.ceil(np.log10(smallest * 1e-5) - 1e-9)
    # Written as text and read again: 10.0 ** -5 is not the float nearest to 1e-05 on every machine.
    return Tolerance(rtol=1e-4, atol=float(f"1e{int(power)}"))


def _allowing(tolerance: Tolerance, rounding: float) -> Tolerance:
    """Return a tolerance of twice the differences between one thread and several, if those are larger."""
    if 2 * rounding <= tolerance.atol:
        return tolerance
    power = int(np.ceil(np.log10(2 * rounding) - 1e-9))
    return msgspec.structs.replace(tolerance, atol=float(f"1e{power}"))


def near_ties(expected: Mapping[str, Array], answers: Mapping[str, Array], tolerance: Tolerance) -> Array:
    """Mark the rows whose label differs although the framework's own first two classes are within tolerance.

    There the label says nothing that its probabilities do not: both are as good. Forests on whole numbers
    have many exact ties, so their share says nothing either; but as many other rows must show the right one.
    """
    near = _near_a_tie(expected, tolerance)
    rows, none = len(near), np.zeros_like(near)
    label = expected.get("label")
    if label is None or not near.any() or answers["label"].shape != label.shape:
        return none
    flipped = (label != answers["label"]).reshape(rows, -1).any(axis=1)  # [rows]
    ties = flipped & near
    agreeing = int((~near & ~flipped).sum())
    return ties if ties.sum() <= max(1, agreeing) else none


def _near_a_tie(expected: Mapping[str, Array], tolerance: Tolerance) -> Array:
    """Mark the rows whose first two classes are within tolerance of each other."""
    label = expected.get("label")
    first = label if label is not None else next(iter(expected.values()))
    rows = len(first) if first.ndim else 1
    margin = margins(expected) if label is not None else None
    if margin is None or len(margin.distance) != rows:
        return np.zeros(rows, dtype=bool)
    near: Array = margin.distance <= 2 * (tolerance.atol + tolerance.rtol * margin.size)
    return near


def _with_accepted_unseen(probe: ProbeRows, signature: Signature) -> ProbeRows:
    """Add the unseen values that both the framework and the signature accept to the rows."""
    table, expected = probe.table, probe.expected
    for unseen in probe.unseen:
        if unseen.expected is None:
            continue
        try:
            signature.cast(unseen.table.feed(signature.inputs))
        except InputError:
            continue
        table = table.with_arrays(stacked(table.arrays, unseen.table.arrays))
        expected = stacked(expected, unseen.expected)
    return replace(probe, table=table, expected=expected, unseen=())


def _with_missing_values(proof: Proof, probe: ProbeRows, run: onnx_graph.Evaluate) -> Proof:
    """Allow NaN in the columns in which the framework takes it and the conversion answers alike.

    The proof fails if the conversion does not in a column that samples miss.
    """
    missing = probe.missing
    if missing is None:
        return proof
    signature = proof.conversion.signature
    in_samples = missing_columns(probe.samples()[0])
    agreed = [column for column in missing.columns if place_of(signature, column) is not None]
    for at, column in enumerate(missing.columns):
        if column not in agreed:
            continue  # an input of integers has no NaN
        parity = _parity_of_missing(proof, missing, missing.rows_of(at, agreed), run)
        if parity.holds:
            continue
        if column in in_samples:
            return replace(proof, parity=parity, unseen=f"a missing value in {missing.name(at)}")
        agreed.remove(column)
    if not _parity_of_missing(proof, missing, missing.rows_of(-1, agreed), run).holds:
        # One by one they agree, together they do not: what samples miss was compared with the samples.
        agreed = [column for column in agreed if column in in_samples]
    allowed = allowing(signature, agreed)
    return replace(proof, conversion=replace(proof.conversion, signature=allowed))


def _parity_of_missing(proof: Proof, missing: MissingValues, rows: Array, run: onnx_graph.Evaluate) -> Parity:
    nothing = Parity(holds=True, rows=0, max_abs_error=0.0, label_flips=0, worst=())
    if not len(rows):
        return nothing
    signature = allowing(proof.conversion.signature, missing.columns)
    inputs = signature.cast(missing.table.take(rows).feed(signature.inputs))
    decided = decided_rows(proof.conversion.model, run, inputs)
    rows, inputs = rows[decided], {name: array[decided] for name, array in inputs.items()}
    answered = {name: array[rows] for name, array in missing.expected.items()}
    if not len(rows):
        return nothing
    expected = {tensor.name: _as_output(tensor, answered[tensor.name]) for tensor in signature.outputs}
    answers = onnx_graph.evaluate_rows(run, inputs)
    ties = near_ties(expected, answers, proof.tolerance)
    return compare(signature.outputs, expected, _excused(expected, answers, ties), proof.tolerance)


def _excused(expected: Mapping[str, Array], answers: Mapping[str, Array], ties: Array) -> dict[str, Array]:
    """Return the answers with the expected labels where there is a near tie."""
    if not ties.any():
        return dict(answers)
    label = answers["label"].copy()
    label[ties] = expected["label"][ties]
    return {**answers, "label": label}


def _deviation_alone(
    signature: Signature,
    run: onnx_graph.Evaluate,
    inputs: Mapping[str, Array],
    answers: Mapping[str, Array],
    clear: Array,
    tolerance: Tolerance,
) -> Parity | None:
    """Compare a few rows run one by one with the same rows among others; None means that they agree.

    Only `clear` rows: near a tie another order of the same sum may decide the label.
    """
    for row in np.flatnonzero(clear)[:_ROWS_ALONE]:
        alone = run({name: array[row : row + 1] for name, array in inputs.items()})
        among = {name: array[row : row + 1] for name, array in answers.items()}
        parity = compare(signature.outputs, among, alone, tolerance)
        if not parity.holds:
            worst = tuple(structs.replace(deviation, row=int(row)) for deviation in parity.worst)
            return structs.replace(parity, worst=worst)
    return None


def _as_output(tensor: Tensor, array: Array) -> Array:
    """Return the framework's array in the kind of the output, if no value changes by it."""
    kind = tensor.numpy_dtype.kind
    if kind in "iu" and array.dtype.kind in "fiub" and (array == np.round(array)).all():
        return array.astype(tensor.numpy_dtype)
    # Compared in float64 whatever the output's precision: rounding the expected value would hide a part.
    if kind == "f" and array.dtype.kind in "fiub":
        return array.astype(np.float64)
    return array


def _usual_size(array: Array) -> float:
    """Return the median size of the numbers in the smallest column.

    Columns that are noise beside the largest, a millionth of it, do not make it smaller.
    """
    sizes = np.abs(np.atleast_1d(array).astype(np.float64))
    flat = sizes.reshape(
        len(sizes), int(np.prod(sizes.shape[1:]))
    )  # [rows, columns], of which there may be 0
    medians = []
    for column in flat.T:
        known = column[np.isfinite(column) & (column > 0)]
        if len(known):
            medians.append(float(np.median(known)))
    return max(min(medians), 1e-6 * max(medians)) if medians else 1.0


def _unrepresentable(plan: Plan, conversion: Conversion, tolerance: Tolerance, error: InputError) -> Proof:
    """Return the proof of a conversion whose inputs cannot have the samples' values: it fails."""
    worst = Deviation(error.where, 0, error.expected, error.found, float("inf"))
    parity = Parity(holds=False, rows=0, max_abs_error=float("inf"), label_flips=0, worst=(worst,))
    return Proof(plan, conversion, tolerance, parity, np.zeros(0, dtype=bool))


def _notes(proof: Proof, attempts: Sequence[Attempt]) -> list[str]:
    return [*_undecided_note(proof.undecided), *_notes_of_others(proof, attempts)]


def _undecided_note(count: int) -> Iterator[str]:
    if count:
        samples = "1 sample was" if count == 1 else f"{count} samples were"
        yield f"{samples} left out, and such rows are refused: they have no {Refused.EQUALLY_NEAR.expected}"


def _notes_of_others(proof: Proof, attempts: Sequence[Attempt]) -> list[str]:
    failed = [attempt.outcome for attempt in attempts if not isinstance(attempt.outcome, ConversionError)]
    if not failed:
        errors = {attempt.plan.dtype: attempt.outcome for attempt in reversed(attempts)}  # the first of each
        errors.pop(proof.plan.dtype, None)
        packed = f"packed in {proof.plan.dtype}"
        return [
            f"it cannot be converted in {dtype} ({error.found or error.message}); {packed}"
            for dtype, error in errors.items()
            if isinstance(error, ConversionError)
        ]
    ways = " nor ".join(f"{other.plan.dtype} with {other.plan.form}" for other in failed)
    lost = f"parity does not hold in {ways} ({failed[0].parity.worst[0]})"
    return [f"{lost}; packed in {proof.plan.dtype} with {proof.plan.form}"]


def _too_often_undecided(trained: TrainedModel, undecided: int, samples: int) -> ConverterFailed:
    return ConverterFailed(
        f"`{trained.title}`",
        expected=f"at most {_MOST_UNDECIDED:.0%} of the samples without {Refused.EQUALLY_NEAR.expected}",
        found=f"{undecided} of {samples}",
        hint="use IterativeImputer or SimpleImputer in the place of KNNImputer, or round the columns less",
    )


def _tie_note(proof: Proof, probe: ProbeRows) -> str:
    count = int(proof.ties.sum())
    return (
        f"{count} of {probe.table.rows} rows are nearer to a tie of two classes than the tolerance, and their"
        " label falls the other way; their other outputs agree"
    )
