"""How near each row is to another label, by the framework's own numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lading.signature import Array


@dataclass(frozen=True)
class Margins:
    """The distance of each row to the next label, and the size of the numbers that decide it."""

    distance: Array  # [rows]
    size: Array  # [rows]


def margins(outputs: Mapping[str, Array]) -> Margins | None:
    """Return the margins by probabilities, scores or distances, or None if there are none of these.

    Of several targets the nearest counts. Scores of two classes are one signed number each.
    """
    # The greatest probability or score decides the label, but the least distance: hence its sign.
    for name, sign in (("probabilities", 1.0), ("scores", 1.0), ("distances", -1.0)):
        values = outputs.get(name)
        if values is None or values.dtype.kind != "f" or not values.ndim:
            continue
        values = values.astype(np.float64) * sign
        if values.ndim == 1 or values.shape[-1] == 1:
            flat = np.abs(values.reshape(len(values), -1)).min(axis=1)  # [rows]
            return Margins(flat, flat)
        top = np.sort(values, axis=-1)[..., -2:].reshape(len(values), -1, 2)  # [rows, targets, 2]
        distance = top[..., 1] - top[..., 0]  # [rows, targets]
        nearest = distance.argmin(axis=1)  # [rows]
        rows = np.arange(len(values))
        return Margins(distance[rows, nearest], np.abs(top[rows, nearest]).max(axis=1))
    return None
