"""Logged requests as the reference of a model, in place of its training data. Stores nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from lading.errors import SamplesRefused
from lading.monitor.log.reader import LogReader
from lading.monitor.log.tensors import arrays_of, complete_rows, present
from lading.profile import Profile
from lading.profile.measure import Batch, measure_batches
from lading.signature import Array, Signature, Tensor, label_output, named_labels

_COLUMNS = ("inputs", "outputs", "label")


def baseline_of(
    log: LogReader,
    model: str,
    signature: Signature,
    labels: Mapping[str, str],
    since: float,
    until: float,
    *,
    where: str = "",
) -> Profile:
    """Return the profile of the requests to `model` between two Unix times that were answered in full.

    `labels` are the display names of classes, by which feedback names them; with feedback, the profile has a
    calibration. Takes memory for a part of the rows. Raises `SamplesRefused` if there is no such request.
    """
    # Copies of a shadow were not answered to anybody, and would count their rows twice.
    answered = "error IS NULL AND side <> 'shadow'" + (f" AND ({where})" if where else "")
    records = partial(log.records, model, since, until, _COLUMNS, answered)
    # Callers may ask for some outputs only: a profile needs rows that have the same ones.
    outputs, rows = _usual_outputs(records(), signature)
    if not rows:
        raise SamplesRefused(
            f"the log of `{model}`",
            expected="answered requests in that period",
            found="none",
            hint=f"`lading log show {model} --since 4w` shows what it has",
        )
    # The log is read twice and never held whole: first to count, then to measure.
    return measure_batches(
        signature, lambda: _batches(records(), signature, outputs, labels), rows, source="log"
    )


def labelled_batches(
    log: LogReader,
    model: str,
    signature: Signature,
    labels: Mapping[str, str],
    since: float,
    until: float,
    *,
    version: int | None = None,
) -> Iterator[Batch]:
    """Return logged requests that have a label, in batches; rows of them without one have ``right`` -1."""
    answered = "error IS NULL AND side <> 'shadow' AND label IS NOT NULL"
    if version is not None:
        answered += f" AND version = {version:d}"
    records = partial(log.records, model, since, until, _COLUMNS, answered)
    outputs, rows = _usual_outputs(records(), signature)
    if rows:
        batches = _batches(records(), signature, outputs, labels)
        yield from (batch for batch in batches if batch.right is not None)


def _usual_outputs(records: Iterable[pa.RecordBatch], signature: Signature) -> tuple[Sequence[Tensor], int]:
    """Return the outputs that most callers ask for, and how many rows have them."""
    asked: Counter[tuple[str, ...]] = Counter()
    for batch in records:
        usable = complete_rows(batch.column("inputs"), signature.inputs)
        answers = batch.column("outputs")
        logged = present(answers, signature.outputs)
        has = [usable & complete_rows(answers, [tensor], signature.outputs) for tensor in logged]
        if not has:
            continue  # No output of this signature was logged.
        patterns, counts = np.unique(np.array(has).T, axis=0, return_counts=True)
        for pattern, count in zip(patterns, counts, strict=True):
            names = tuple(tensor.name for tensor, is_asked in zip(logged, pattern, strict=True) if is_asked)
            asked[names] += int(count)
    if not asked:
        return (), 0
    # Rows with any output come before rows without, however many those are.
    names = max(asked, key=lambda names: (bool(names), asked[names]))
    rows = sum(count for each, count in asked.items() if set(names) <= set(each)) if names else 0
    return [tensor for tensor in signature.outputs if tensor.name in names], rows


def _batches(
    records: Iterable[pa.RecordBatch],
    signature: Signature,
    tensors: Sequence[Tensor],
    labels: Mapping[str, str],
) -> Iterator[Batch]:
    names = {tensor.name for tensor in tensors}
    for batch in records:
        answers = batch.column("outputs")
        if not names <= {tensor.name for tensor in present(answers, signature.outputs)}:
            continue
        # A record that lacks a part of its row is left out, as a row with gaps is no row to compare with.
        whole = complete_rows(batch.column("inputs"), signature.inputs)
        whole &= complete_rows(answers, tensors, signature.outputs)
        usable = batch.filter(pa.array(whole))
        for indices, inputs in arrays_of(usable.column("inputs"), signature.inputs):
            part = usable.take(pa.array(indices))
            for rows, outputs in arrays_of(part.column("outputs"), tensors, signature.outputs):
                truths = part.take(pa.array(rows)).column("label").to_pylist()
                at_rows = {name: array[rows] for name, array in inputs.items()}
                yield Batch(at_rows, outputs, right_of(tensors, labels, outputs, truths))


def right_of(
    tensors: Sequence[Tensor],
    labels: Mapping[str, str],
    outputs: Mapping[str, Array],
    truths: Sequence[str | None],
) -> Array | None:
    """Return whether each row was predicted right, -1 without a label; None if no row has one."""
    label = label_output(tensors)
    # None and not -1 for all: a calibration of no label at all must not be made.
    if label is None or not any(truth is not None for truth in truths):
        return None
    # Feedback names classes as people do; answers have the model's own values.
    named = named_labels(label, outputs[label.name], labels)
    answers = [str(name) for row in named for name in (row if isinstance(row, list) else [row])]
    return np.array(
        [-1 if truth is None else truth == answer for truth, answer in zip(truths, answers, strict=True)],
        np.int8,
    )
