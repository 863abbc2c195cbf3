"""The output that names the class of a row, and the names of the classes. Raises no errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lading.signature import Signature
    from lading.signature.tensor import Array, Tensor

_BY_CLASS = ("probabilities", "scores")


def label_output(signature: Signature) -> Tensor | None:
    """Return the output that names the class: ``label``, else scores by class, or None without either."""
    outputs = {tensor.name: tensor for tensor in signature.outputs}
    if "label" in outputs:
        return outputs["label"]
    # Scores name the class only if their columns do.
    return next((outputs[name] for name in _BY_CLASS if name in outputs and outputs[name].columns), None)


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
