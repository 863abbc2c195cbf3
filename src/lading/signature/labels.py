"""The output that names the class of a row, and the names of the classes. Raises no errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lading.signature.tensor import Array, Tensor

_BY_CLASS = ("probabilities", "scores")


def label_output(outputs: Sequence[Tensor]) -> Tensor | None:
    """Return the output that names the class: ``label``, else scores by class, or None without either."""
    by_name = {tensor.name: tensor for tensor in outputs}
    if "label" in by_name:
        return by_name["label"]
    # Scores name the class only if their columns do.
    return next((by_name[name] for name in _BY_CLASS if name in by_name and by_name[name].columns), None)


def named_labels(tensor: Tensor, values: Array, names: Mapping[str, str]) -> Any:
    """Turn classes, or scores by class, into the names of the classes, nested as `values` are.

    `tensor` is the one that `label_output` returned; a class without a name stays as it is.
    """
    if tensor.name != "label":
        # [..., classes] -> [...]
        values = np.asarray(np.array(tensor.columns, dtype=object)[values.argmax(axis=-1)], dtype=object)

    def name(value: Any) -> Any:
        return [name(item) for item in value] if isinstance(value, list) else names.get(str(value), value)

    return name(values.tolist())
