"""Rows of text, divided by length: a graph that reads text fills up every row of a run to the longest one.

Runs nothing and knows no session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lading.signature import Array

_SHORT = 64
"""Texts of fewer characters are alike."""
_SMALL = 2**16
"""So many places need not be divided: 23 MB in the dearest graph, of 350 bytes a character."""


def row_lengths(texts: Sequence[Array]) -> list[int]:
    """Return how many characters each row has in all of its texts."""
    rows = len(texts[0])
    lengths: list[int] = []
    for array in texts:
        # Lists, because most requests have few rows: arrays would take 10 µs for them.
        flat = list(map(len, array.ravel().tolist()))
        width = array.size // rows
        if width != 1:
            flat = [sum(flat[at : at + width]) for at in range(0, array.size, width)]
        lengths = list(map(int.__add__, lengths, flat)) if lengths else flat
    return lengths


def length_groups(lengths: Sequence[int]) -> list[Array]:
    """Divide rows into groups, each as indices, in which the longest has twice the shortest at most.

    Shorter groups come first. Empty if one run wastes little: then the rows stay as they are.
    """
    places = len(lengths) * max(lengths)
    if places <= _SMALL or places <= 2 * sum(lengths):
        return []
    order = np.argsort(lengths, kind="stable")
    _, sizes = np.frexp(np.maximum(np.array(lengths)[order], _SHORT))  # the bit length
    return np.split(order, np.flatnonzero(np.diff(sizes)) + 1)


def run_groups(
    run: Callable[[Mapping[str, Array]], dict[str, Array]],
    inputs: Mapping[str, Array],
    groups: Sequence[Array],
) -> dict[str, Array] | None:
    """Run each group; return the answers in the order of the rows, or None if they are not one for each."""
    rows = sum(len(group) for group in groups)
    joined: dict[str, Array] = {}
    for group in groups:
        answers = run({name: array[group] for name, array in inputs.items()})
        for name, array in answers.items():
            if array.ndim == 0 or len(array) != len(group):
                return None
            whole = joined.setdefault(name, np.empty((rows, *array.shape[1:]), array.dtype))
            if whole.shape[1:] != array.shape[1:]:
                return None
            whole[group] = array
    return joined
