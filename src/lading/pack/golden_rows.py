"""The golden samples of a bundle: which rows, in the signature's dtypes, with the framework's answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lading.bundle import MAX_ROWS, Samples
from lading.convert import Table, TrainedModel
from lading.convert import graph as onnx_graph
from lading.convert.undecided import decided_rows, may_be_undecided
from lading.errors import SamplesRefused
from lading.pack import sampling
from lading.pack.margins import margins
from lading.pack.missing_values import allowed_columns, missing_columns, with_missing
from lading.pack.probe_rows import DRAWN_ROWS, ProbeRows, stacked
from lading.pack.proof import Proof
from lading.parity import Tolerance
from lading.signature import Array, Signature

MAX_GOLDEN_BYTES = 32 * 2**20
_ROWS_OF_TEXTS = 16
_ROWS_OF_A_GAP = 4  # one of them is not near a tie
# They cannot be divided: a replay runs them at once.
_ROWS_OF_ONE_CALL = 32


def golden_samples(trained: TrainedModel, probe: ProbeRows, proof: Proof, *, synthetic: bool) -> Samples:
    """Choose golden rows among the samples, or among rows drawn like them if `synthetic`."""
    table, expected = probe.samples()
    if not proof.conversion.signature.batched:
        return _as_one_call(trained, table, expected, proof)
    if synthetic:
        table = sampling.synthetic(table, DRAWN_ROWS, trained.title)
        expected = trained.outputs(table)
    table, expected = _showing_missing(trained, table, expected, proof)
    samples = table.rows
    if table.words:
        texts = sampling.known_texts(table, _ROWS_OF_TEXTS)
        table, expected = (
            table.with_arrays(stacked(table.arrays, texts.arrays)),
            stacked(expected, trained.outputs(texts)),
        )
    table, expected = _showing_categories(trained, table, expected)
    signature, model = proof.conversion.signature, proof.conversion.model
    if may_be_undecided(model):
        run = onnx_graph.evaluator(trained.title, model)
        decided = decided_rows(model, run, signature.cast(table.feed(signature.inputs)))
        table, samples = table.take(np.flatnonzero(decided)), int(decided[:samples].sum())
        expected = {name: array[decided] for name, array in expected.items()}
    row_bytes = sum(array[:1].nbytes for array in (*table.arrays.values(), *expected.values()))
    most = max(1, min(MAX_ROWS, MAX_GOLDEN_BYTES // max(1, row_bytes)))
    always = np.arange(samples, table.rows)
    rows = choose_rows(table, expected, proof.tolerance, most=most, always=always)
    expected = {name: array[rows] for name, array in expected.items()}
    return _samples(signature, table.take(rows), expected, len(rows))


def choose_rows(
    table: Table,
    expected: Mapping[str, Array],
    tolerance: Tolerance,
    *,
    most: int = MAX_ROWS,
    always: Sequence[int] | Array = (),
) -> Array:
    """Return up to `most` row indices, ascending: half of them nearest to another label, the rest at random.

    A column with missing values shows one, and the rows `always` are among them but for near ties, as long as
    that takes not more than half of the rows.
    """
    random = np.random.default_rng(sampling.SEED + 3)
    margin = margins(expected) if "label" in expected else None
    rows = np.arange(table.rows)
    nearest: Array = rows[:0]
    clear = np.ones(table.rows, dtype=bool)
    if margin is not None:
        # Rows nearer to a tie than the tolerance prove nothing: on another machine their label may be either.
        clear = margin.distance > 2 * (tolerance.atol + tolerance.rtol * margin.size)  # [rows]
        rows = rows[clear] if clear.any() else rows
        nearest = rows[np.argsort(margin.distance[rows], kind="stable")][: most // 2]
    rest = random.permutation(np.setdiff1d(rows, nearest))
    # Each row once, at its first place in the order of importance.
    needed = [row for row in always if clear[row]]
    first = np.concatenate([_first_missing(table, clear), np.array(needed, dtype=np.intp)])
    order = np.concatenate([first[: most // 2], nearest, rest])
    _, first_places = np.unique(order, return_index=True)
    return np.sort(order[np.sort(first_places)][:most])


def _as_one_call(trained: TrainedModel, table: Table, expected: Mapping[str, Array], proof: Proof) -> Samples:
    """Take rows as one call: an output belongs to the call and not to a row, or depends on other rows."""
    signature = proof.conversion.signature
    batched = [tensor.name for tensor in signature.inputs if tensor.batched]
    if not batched:
        return _samples(signature, table, expected, 1)
    rows = len(table.arrays[batched[0]])
    # Dynamic quantisation takes a scale for the rows of each thread: one row is the same on every machine.
    most = _ROWS_OF_ONE_CALL if signature.independent_rows else 1
    # Answers that came with the samples are of all rows, and are returned as they are.
    if rows > most and trained.outputs(table) is not expected:
        rows = most
        first = {name: array[:rows] for name, array in table.arrays.items() if name in batched}
        table = table.with_arrays({**table.arrays, **first})
        expected = trained.outputs(table)
    return _samples(signature, table, expected, rows)


def _samples(signature: Signature, table: Table, expected: Mapping[str, Array], rows: int) -> Samples:
    inputs = signature.cast(table.feed(signature.inputs))
    outputs = {
        tensor.name: np.asarray(expected[tensor.name]).astype(tensor.numpy_dtype)
        for tensor in signature.outputs
    }
    return Samples(inputs=inputs, outputs=outputs, rows=rows)


def _showing_missing(
    trained: TrainedModel, table: Table, expected: dict[str, Array], proof: Proof
) -> tuple[Table, dict[str, Array]]:
    """Add rows that miss a value in each column that may be missing and is in no row of the table."""
    if not table.has_nan():
        return table, expected
    hidden = set(allowed_columns(proof.conversion.signature, table)) - missing_columns(table)
    if not hidden:
        return table, expected
    first = np.arange(min(_ROWS_OF_A_GAP, table.rows))
    added = with_missing(table, dict.fromkeys(sorted(hidden), first))
    return table.with_arrays(stacked(table.arrays, added.arrays)), stacked(expected, trained.outputs(added))


def _showing_categories(
    trained: TrainedModel, table: Table, expected: dict[str, Array]
) -> tuple[Table, dict[str, Array]]:
    """Add a row with a missing text in each column that has such, and one with an unknown text if taken."""
    for name in sorted(table.blank):
        for text in ("", sampling.UNSEEN_TEXT):
            row = table.take(np.arange(1))
            changed = row.with_arrays({**row.arrays, name: np.array([text], dtype=object)})
            try:
                answers = trained.outputs(changed)
            except SamplesRefused:
                continue
            table = table.with_arrays(stacked(table.arrays, changed.arrays))
            expected = stacked(expected, answers)
    return table, expected


def _first_missing(table: Table, clear: Array) -> Array:
    """Return, for each column with missing values, the first row that has one, a `clear` one if there is."""
    rows = []
    for array in table.arrays.values():
        if array.dtype.kind == "f":
            missing = np.isnan(array.reshape(len(array), -1))  # [rows, columns]
            at = np.where(
                (missing & clear[:, None]).any(axis=0),
                (missing & clear[:, None]).argmax(axis=0),
                missing.argmax(axis=0),
            )
            rows.extend(at[missing.any(axis=0)].tolist())
    return np.array(list(dict.fromkeys(rows)), dtype=np.intp)
