"""Proof that a converted model answers as its framework does, and the choice of the dtype by it.

Compares; converts nothing itself and writes nothing. What does not hold is refused with the rows that show
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lading.convert import Conversion, Plan, TrainedModel
from lading.convert import graph as onnx_graph
from lading.errors import ConversionError, ConverterFailed, InputError, ParityLost
from lading.pack.margins import margins
from lading.pack.probe_rows import Trial, stacked
from lading.parity import Deviation, Parity, Tolerance, compare
from lading.signature import Array, Signature, Tensor

_ALONE_ROWS = 8
_TIE_SHARE = 0.01
_SHOWN_ROWS = 3


@dataclass(frozen=True)
class Proof:
    """One conversion and how well it agrees.

    ``ties`` marks rows whose label fell the other way in a near tie; ``alone`` says that `parity` is that of
    rows run one by one with the same rows among others.
    """

    plan: Plan
    conversion: Conversion
    tolerance: Tolerance
    parity: Parity
    ties: Array
    alone: bool = False


def choose(
    trained: TrainedModel, trial: Trial, dtypes: tuple[str, ...], tolerance: Tolerance | None
) -> tuple[Proof, list[str]]:
    """Return the first conversion that holds, and what is to be said of those that did not.

    A conversion in which near ties fell the other way is taken only if no other does without.
    Raises `ConversionError`: the one that came nearest.
    """
    refusals: list[ConversionError] = []
    failed: list[Proof] = []
    tied: Proof | None = None
    for plan in trained.plans(trial.table, dtypes):
        try:
            proof = prove(trained, plan, trial, tolerance)
        except ConversionError as error:
            refusals.append(error)
            continue
        if proof.parity.holds and not proof.ties.any():
            return proof, _notes(proof, failed)
        if proof.parity.holds:
            tied = tied or proof
        else:
            failed.append(proof)
    if tied is not None:
        return tied, [*_notes(tied, failed), _tie_note(tied, trial)]
    if failed:
        raise _lost(trained, min(failed, key=_excess), failed, trial, dtypes)
    raise refusals[0] if refusals else ConverterFailed(f"`{trained.title}`", expected="a way to convert it")


def prove(trained: TrainedModel, plan: Plan, trial: Trial, tolerance: Tolerance | None) -> Proof:
    """Convert as `plan` says and compare all rows with the framework's answers; raises `ConversionError`."""
    conversion = plan.convert(*trial.samples())
    signature = conversion.signature
    tolerance = tolerance or usual_tolerance(
        {tensor.name: trial.expected[tensor.name] for tensor in signature.outputs}
    )
    trial = _admitted(trial, signature)
    expected = {tensor.name: _like(tensor, trial.expected[tensor.name]) for tensor in signature.outputs}
    try:
        inputs = signature.cast(trial.table.feed(signature.inputs))
    except InputError as error:
        return _cannot_hold(plan, conversion, tolerance, error)
    run = onnx_graph.evaluator(trained.title, conversion.model)
    batched = signature.batched
    found = onnx_graph.evaluate_rows(run, inputs) if batched else run(inputs)
    ties = near_ties(expected, found, tolerance)
    parity = compare(signature.outputs, expected, _excused(expected, found, ties), tolerance)
    if parity.holds and batched:
        alone = _check_alone(signature, run, inputs, found, ties, tolerance)
        if alone is not None:
            return Proof(plan, conversion, tolerance, alone, ties, alone=True)
    return Proof(plan, conversion, tolerance, parity, ties)


def unrefused(trained: TrainedModel, proof: Proof, trial: Trial) -> list[str]:
    """Say which values the framework refuses and the packed model does not: nothing proves those answers."""
    signature = proof.conversion.signature
    run = onnx_graph.evaluator(trained.title, proof.conversion.model)
    notes = []
    for one in trial.beyond:
        if one.expected is not None:
            continue
        try:
            run(signature.cast(one.table.feed(signature.inputs)))
        except (InputError, ConverterFailed):
            continue  # refused by the packed model as well
        notes.append(f"{one.title}: {trained.title} refuses it, the packed model answers something")
    return notes


def _admitted(trial: Trial, signature: Signature) -> Trial:
    """Add to the rows what lies beyond the samples, as far as the framework and the signature let it in."""
    table, expected = trial.table, trial.expected
    for one in trial.beyond:
        if one.expected is None:
            continue
        try:
            signature.cast(one.table.feed(signature.inputs))
        except InputError:
            continue
        table = table.with_arrays(stacked(table.arrays, one.table.arrays))
        expected = stacked(expected, one.expected)
    return Trial(table, expected, trial.given)


def usual_tolerance(expected: Mapping[str, Array]) -> Tolerance:
    """Return the tolerance for outputs of this size.

    A number may be off by a ten-thousandth of itself, and near zero by a hundred-thousandth of what is usual
    in the output (in its smallest column), rounded up to a power of ten. It is the same in float32 and
    float64: it says what a caller may rely on, not what the dtype could do. Single precision keeps seven
    digits, of which long sums lose two or three.
    """
    smallest = 1.0
    scales = []
    for name, array in expected.items():
        if array.dtype.kind == "f" and name != "probabilities":
            scales.append(_usual_size(array))
    if scales:
        smallest = min(scales)
    power = np.ceil(np.log10(smallest * 1e-5) - 1e-9)
    # Written as text and read again: 10.0 ** -5 is not the float nearest to 1e-05 on every machine.
    return Tolerance(rtol=1e-4, atol=float(f"1e{int(power)}"))


def near_ties(expected: Mapping[str, Array], found: Mapping[str, Array], tolerance: Tolerance) -> Array:
    """Mark the rows whose label differs although the framework's own first two classes lie within tolerance.

    There the label says nothing that its probabilities do not: both are as good. No more than one row in
    a hundred is excused so, or a rule for ties that differs from the framework's would pass for rounding.
    """
    label = expected.get("label")
    rows = len(label) if label is not None and label.ndim else 1
    none = np.zeros(rows, dtype=bool)
    known = margins(expected)
    if label is None or known is None or found["label"].shape != label.shape or len(known.distance) != rows:
        return none
    flipped = (label != found["label"]).reshape(rows, -1).any(axis=1)
    ties = flipped & (known.distance <= 2 * (tolerance.atol + tolerance.rtol * known.size))
    return ties if ties.sum() <= max(1, _TIE_SHARE * rows) else none


def _excused(expected: Mapping[str, Array], found: Mapping[str, Array], ties: Array) -> dict[str, Array]:
    if not ties.any():
        return dict(found)
    label = found["label"].copy()
    label[ties] = expected["label"][ties]
    return {**found, "label": label}


def _check_alone(
    signature: Signature,
    run: onnx_graph.Evaluate,
    inputs: Mapping[str, Array],
    found: Mapping[str, Array],
    ties: Array,
    tolerance: Tolerance,
) -> Parity | None:
    """Compare a few rows run one by one with the same rows among others; None where they agree."""
    rows = np.flatnonzero(~ties)[:_ALONE_ROWS]
    for row in rows:
        alone = run({name: array[row : row + 1] for name, array in inputs.items()})
        among = {name: array[row : row + 1] for name, array in found.items()}
        parity = compare(signature.outputs, among, alone, tolerance)
        if not parity.holds:
            return parity
    return None


def _like(tensor: Tensor, array: Array) -> Array:
    """Return the framework's array the kind of the output, as far as no value changes by it."""
    kind = tensor.numpy_dtype.kind
    if kind in "iu" and array.dtype.kind in "fiub" and (array == np.round(array)).all():
        return array.astype(tensor.numpy_dtype)
    if kind == "f" and array.dtype.kind in "fiub":
        return array.astype(np.float64)
    return array


def _usual_size(array: Array) -> float:
    """Return the median size of the numbers in the smallest column that is no mere noise beside the largest."""
    wide = np.abs(np.atleast_1d(array).astype(np.float64))
    flat = wide.reshape(len(wide), -1)  # [rows, columns]
    medians = []
    for column in flat.T:
        known = column[np.isfinite(column) & (column > 0)]
        if len(known):
            medians.append(float(np.median(known)))
    return max(min(medians), 1e-6 * max(medians)) if medians else 1.0


def _cannot_hold(plan: Plan, conversion: Conversion, tolerance: Tolerance, error: InputError) -> Proof:
    worst = Deviation(error.where, 0, error.expected, error.found, float("inf"))
    parity = Parity(holds=False, rows=0, max_abs_error=float("inf"), label_flips=0, worst=(worst,))
    return Proof(plan, conversion, tolerance, parity, np.zeros(0, dtype=bool))


def _excess(proof: Proof) -> float:
    return max(deviation.excess for deviation in proof.parity.worst)


def _notes(proof: Proof, failed: Sequence[Proof]) -> list[str]:
    if not failed:
        return []
    ways = " nor ".join(f"{one.plan.dtype} with {one.plan.form}" for one in failed)
    where = f"parity does not hold in {ways} ({failed[0].parity.worst[0]})"
    return [f"{where}; packed in {proof.plan.dtype} with {proof.plan.form}"]


def _tie_note(proof: Proof, trial: Trial) -> str:
    count = int(proof.ties.sum())
    return (
        f"{count} of {trial.table.rows} rows lie nearer to a tie of two classes than the tolerance, and their"
        " label falls the other way; their probabilities agree"
    )


def _lost(
    trained: TrainedModel, best: Proof, failed: Sequence[Proof], trial: Trial, dtypes: tuple[str, ...]
) -> ParityLost:
    tolerance = best.tolerance
    tried = ", ".join(dict.fromkeys(proof.plan.dtype for proof in failed))
    if best.alone:
        return ParityLost(
            f"`{trained.title}` in {tried}",
            expected="the same answer for a row alone and among others",
            found=str(best.parity.worst[0]),
            hint="a model whose answers depend on the other rows, or on chance, cannot be served",
        )
    rows = "; ".join(_row(deviation, trial) for deviation in best.parity.worst[:_SHOWN_ROWS])
    hint = (
        "if this difference is acceptable, pass a tolerance; "
        "else retrain without the part that is converted wrongly"
    )
    if "float64" not in dtypes:
        hint = f"dtype='auto' tries float64 as well; {hint}"
    return ParityLost(
        f"`{trained.title}` in {tried}",
        expected=f"the answers of {trained.expected_from} (rtol {tolerance.rtol:g}, atol {tolerance.atol:g})",
        found=rows,
        hint=hint,
    )


def _row(deviation: Deviation, trial: Trial) -> str:
    if deviation.excess == float("inf") and deviation.output.startswith("input"):
        return f"{deviation.output}: expected {deviation.expected}, found {deviation.found}"
    if deviation.row >= trial.table.rows:
        return (
            f"output `{deviation.output}`, for an unseen value: {deviation.expected} became {deviation.found}"
        )
    drawn = deviation.row >= trial.given
    where = f"drawn row {deviation.row - trial.given}" if drawn else f"row {deviation.row}"
    values = ", ".join(
        str(np.asarray(array[deviation.row]).tolist()) for array in trial.table.arrays.values()
    )
    shown = values if len(values) <= 120 else f"{values[:120]}…"
    return f"output `{deviation.output}`, {where} ({shown}): {deviation.expected} became {deviation.found}"
