"""Which output tells the class of a row, and what the classes are called. Has no words for errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lading.signature import Signature
    from lading.signature.tensor import Array, Tensor

_BY_CLASS = ("probabilities", "scores")


def label_output(signature: Signature) -> Tensor | None:
    """Return the output that tells the class: ``label``, else one of scores by class; None without either."""
    outputs = {tensor.name: tensor for tensor in signature.outputs}
    if "label" in outputs:
        return outputs["label"]
    return next((outputs[name] for name in _BY_CLASS if name in outputs and outputs[name].columns), None)


def named_labels(tensor: Tensor, values: Array, names: Mapping[str, str]) -> Any:
    """Turn classes, or scores by class, into the names of the classes; one without a name stays as it is.

    `values` are those of the output that `label_output` gave: nested lists come out as deep as they are.
    """
    if tensor.name != "label":
        values = np.asarray(np.array(tensor.columns, dtype=object)[values.argmax(axis=-1)], dtype=object)

    def name(value: Any) -> Any:
        return [name(one) for one in value] if isinstance(value, list) else names.get(str(value), value)

    return name(values.tolist())
