"""What an answer says: the names under which outputs are counted, and whether two answers say the same.

Callers choose the outputs that they get. A class is named alike whether it came as ``label`` or as scores by
class; every other output is counted by itself. Runs nothing and keeps no answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from lading.parity import compare
from lading.server.inference.version import ServedVersion
from lading.signature import Array, Signature, Tensor

Outputs = Mapping[str, Array]

MAX_NAMED_ROWS = 20_000
"""Rows of one version that are named in one second; naming them all could take longer."""
_VALUES_A_ROW = 20
"""How many values of a row are named, on average; of wider rows fewer are."""
_BINS = 10
_SCORES = ("probabilities", "scores")
# Of normally distributed values these are one standard deviation from the middle; a few extremes among the
# golden values, which are chosen to be extreme, do not move them.
_SPREAD_QUANTILES = (0.1587, 0.8413)


def outputs_by_meaning(signature: Signature) -> tuple[str, ...]:
    """Return the outputs of a model, those that name a class first: ``label``, then scores by class."""
    names = [tensor.name for tensor in signature.outputs]
    first = [name for name in ("label", *_SCORES, signature.primary.name) if name in names]
    return tuple(dict.fromkeys([*first, *names]))


class OutputNames:
    """Names the answers of one version, by class, by value or by the decile of live's golden values.

    The deciles are those of the version itself where `live` has no such output.
    """

    def __init__(self, version: ServedVersion, live: ServedVersion) -> None:
        self._tensors = {tensor.name: tensor for tensor in version.signature.outputs}
        self._order = outputs_by_meaning(version.signature)
        self._labels = version.labels
        self._primary = version.signature.primary.name
        self._classes = tuple(
            name for name in self._order if name == "label" or self._is_by_class(self._tensors[name])
        )
        # One score of two classes: its sign is the class, and its size means something else in every model.
        self._signs = tuple(
            name
            for name in _SCORES
            if "label" in self._tensors
            and name in self._tensors
            and name not in self._classes
            and self._tensors[name].scalar_rows
        )
        self._golden = {
            name: _golden_values(tensor, version, live)
            for name, tensor in self._tensors.items()
            if not self._is_discrete(tensor)
        }
        self._edges = {name: _decile_edges(values) for name, values in self._golden.items()}
        self._spreads = {name: _spread(values) for name, values in self._golden.items()}
        self._tolerance = version.manifest.tolerance

    def count(self, answers: Sequence[Outputs], most_rows: int = MAX_NAMED_ROWS) -> dict[str, int]:
        """Count the rows of `answers` by name, up to `most_rows` of them; their outputs may differ.

        Of rows with many values fewer are counted, but one at least.
        """
        by_output: dict[tuple[str, int], list[Array]] = {}
        judged: dict[tuple[str, ...], list[str]] = {}  # by the outputs of an answer, of which there are few
        remaining, values = most_rows, most_rows * _VALUES_A_ROW
        # This holds the interpreter while requests wait for it: each answer has to be cheap.
        for answer in answers:
            if remaining <= 0 or values <= 0:
                break
            key = tuple(answer)
            chosen = judged.get(key)
            if chosen is None:
                chosen = judged[key] = self.judged(answer)
            counted = 0
            for name in chosen:
                rows = rows_of(answer[name])
                most = min(remaining, max(1, values // max(1, rows.shape[1])))
                rows = rows if len(rows) <= most else rows[:most]
                counted = max(counted, len(rows))
                values -= rows.size
                if len(rows):
                    by_output.setdefault((name, rows.shape[1]), []).append(rows)
            remaining -= counted
        names: Counter[str] = Counter()
        for (name, _), arrays in by_output.items():
            names.update(self._names(name, np.concatenate(arrays)))
        return dict(names)

    def judged(self, answer: Outputs) -> list[str]:
        """Return the outputs of an answer that are counted and compared: one for the class, all others."""
        best = next((name for name in (*self._classes, *self._signs) if name in answer), None)
        by_class = {*self._classes, *self._signs}
        return [name for name in self._order if name in answer and (name == best or name not in by_class)]

    def truths(self, name: str, array: Array, truth: Sequence[str], within: float) -> list[bool]:
        """Return for each row of an output whether it is what turned out to be true.

        A value is right within the part `within` of the spread of live's golden values. A client may know the
        truth about the first rows only.
        """
        rows = rows_of(array)
        if name in self._golden:
            known = [_number(text) for text in truth[: len(rows)]]
            near = within * self._spreads[name]
            return [
                bool(abs(float(row[0]) - true) <= near)
                for row, true in zip(rows, known, strict=False)
                if true is not None
            ]
        return [name == true for name, true in zip(self._class_names(name, rows), truth, strict=False)]

    @property
    def rated(self) -> tuple[str, ...]:
        """The outputs of which the truth is one word or number a row, best first."""
        return tuple(
            name
            for name in self._order
            if (name not in _SCORES and (name in self._classes or self._tensors[name].scalar_rows))
            or (name in self._classes and self._tensors[name].columns)
        )

    def says_the_same(self, ours: Outputs, other: OutputNames, theirs: Outputs, within: float) -> bool:
        """Return whether one row of live (`self`) and of a candidate (`other`) is the same answer.

        Classes are compared by name, numbers by the root mean square of their differences, as a part `within`
        of the spread of live's golden values; all else must be equal.
        """
        numbers = [name for name in self.judged(ours) if name not in self._classes]
        for name in (*(name for name in self._classes if name in ours), *numbers):
            if name in self._classes:
                # A label and the best score may name different classes: like is compared with like.
                alike = (name, *other._classes)
                output = next((named for named in alike if named in other._classes and named in theirs), None)
                if output is None:
                    return False
                texts = self._class_names(name, rows_of(ours[name]))
                if texts != other._class_names(output, rows_of(theirs[output])):
                    return False
            elif name not in theirs or not self._is_near(name, ours[name], theirs[name], within):
                return False
        return True

    def has_same_values(self, ours: Outputs, theirs: Outputs) -> bool:
        """Return whether two answers agree in every number, within the tolerance that the bundle states."""
        tensors = [tensor for name, tensor in self._tensors.items() if name in ours]
        return compare(tensors, ours, theirs, self._tolerance).holds

    def _is_near(self, name: str, ours: Array, theirs: Array, within: float) -> bool:
        if ours.shape != theirs.shape:
            return False
        if name in self._signs:
            return bool(((ours > 0) == (theirs > 0)).all())
        if name not in self._golden or theirs.dtype.kind != ours.dtype.kind:
            return bool(np.array_equal(ours, theirs))
        a, b = (array.astype(np.float64).reshape(-1) for array in (ours, theirs))
        known = np.isfinite(a) & np.isfinite(b)
        if not np.array_equal(a[~known], b[~known], equal_nan=True):
            return False
        difference = (a - b)[known]
        if not difference.size:
            return True
        return bool(np.sqrt(np.mean(difference**2)) <= within * self._spreads[name])

    def _names(self, name: str, rows: Array) -> dict[str, int]:
        """Count rows ``[rows, values]`` of one output by name."""
        prefix = "" if name in (*self._classes, self._primary) else f"{name}: "
        if name in self._signs:
            above = int((rows[:, 0] > 0).sum())
            counts = {"score > 0": above, "score ≤ 0": len(rows) - above}
            return {text: count for text, count in counts.items() if count}
        if name in self._golden:
            counts = _by_bin(self._edges[name], rows.astype(np.float64).reshape(-1))
        else:
            counts = Counter(self._class_names(name, rows))
        return {f"{prefix}{text}": count for text, count in counts.items()}

    def _class_names(self, name: str, rows: Array) -> list[str]:
        """Return the class of each row, or its first value as text; `rows` is ``[rows, values]``."""
        tensor = self._tensors[name]
        if name in self._classes and name != "label":
            best = rows.argmax(axis=-1)  # [rows]
            keys = np.array(tensor.columns)[best] if tensor.columns else best.astype(str)
        else:
            keys = rows[:, 0].astype(str)  # [rows]
        return [self._labels.get(key, key) for key in keys.tolist()]

    def _is_by_class(self, tensor: Tensor) -> bool:
        if tensor.name not in _SCORES or len(tensor.shape) != 2 or tensor.scalar_rows:
            return False
        # Without names of columns, the number of a column is the class, where the model has classes at all.
        return bool(tensor.columns) or "label" in self._tensors

    def _is_discrete(self, tensor: Tensor) -> bool:
        return (
            tensor.name in self._classes
            or tensor.dtype in ("string", "bool")
            or tensor.dtype.startswith(("int", "uint"))
        )


def rows_of(array: Array) -> Array:
    """Return an output as ``[rows, values]``; one without a batch dimension is one row, an empty one none."""
    return array.reshape(len(array) if array.ndim else 1, -1) if array.size else array.reshape(0, 1)


def _golden_values(tensor: Tensor, version: ServedVersion, live: ServedVersion) -> Array:
    """Return the finite golden values of an output, of live if that has the same one."""
    reference = live if tensor in live.signature.outputs else version
    golden = reference.samples.outputs[tensor.name].astype(np.float64).reshape(-1)
    return np.asarray(golden[np.isfinite(golden)])


def _decile_edges(values: Array) -> Array:
    quantiles = np.linspace(0, 1, _BINS + 1)[1:-1]
    return np.unique(np.quantile(values, quantiles)) if values.size else np.zeros(1)


def _spread(values: Array) -> float:
    """Return about a standard deviation; where values do not vary, the largest of them or 1."""
    if not values.size:
        return 1.0
    low, high = np.quantile(values, _SPREAD_QUANTILES)
    return float((high - low) / 2) or float(values.std()) or float(np.abs(values).max()) or 1.0


def _by_bin(edges: Array, values: Array) -> dict[str, int]:
    missing = np.isnan(values)
    bins = np.bincount(np.searchsorted(edges, values[~missing]), minlength=len(edges) + 1)
    named = {f"bin {at}": int(count) for at, count in enumerate(bins) if count}
    return {**named, "nan": int(missing.sum())} if missing.any() else named


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
