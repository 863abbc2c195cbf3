"""Which of the texts that are tried do what, by how many tokens they have. Knows no tokenizer."""

from __future__ import annotations

import numpy as np

from lading.signature import Array

BATCH_ROWS = 16
"""Texts that are asked together: the shorter ones are filled up to the longest."""

_ROWS_TO_CONVERT, _TOKENS_TO_CONVERT = 24, 48
_ALONE = 8
# Golden rows run as one, filled up to the longest, wherever a server starts.
_GOLDEN_TOKENS, _GOLDEN_ROWS, _LEAST_GOLDEN = 4096, 64, 8


def within(lengths: Array, most: int, random: np.random.Generator) -> Array:
    """Return rows by a draw, ascending, that have `most` tokens together; one at least."""
    order = random.permutation(len(lengths))
    return np.sort(order[np.cumsum(lengths[order]) <= max(most, int(lengths[order[0]]))])


def rows_to_convert(lengths: Array) -> Array:
    """Return a few short texts of several lengths: how long a call is counts more than how many there are."""
    order = np.argsort(lengths, kind="stable")
    short = order[lengths[order] <= max(_TOKENS_TO_CONVERT, int(lengths[order[1]]))]
    places = np.linspace(0, len(short) - 1, min(_ROWS_TO_CONVERT, len(short))).astype(int)
    return np.sort(short[np.unique(places)])


def batches_to_convert(lengths: Array) -> list[Array]:
    """Return the rows of calls of other sizes: one text, a few, the longest among shorter ones, and alone."""
    order = np.argsort(lengths, kind="stable")
    middle = order[len(order) // 2 :]
    return [order[:1], middle[:1], order[:2], order[-8:-1], order[-1:]]


def rows_alone(lengths: Array) -> Array:
    """Return a few texts of all lengths, to be asked alone."""
    order = np.argsort(lengths, kind="stable")
    return order[:: max(1, len(order) // _ALONE)]


def golden_rows(lengths: Array, always: Array) -> Array:
    """Return the texts to take along: those of `always`, and the shortest of the others.

    They are as many as may run filled up to the longest of them.
    """
    order = np.argsort(lengths, kind="stable")
    order = np.concatenate([order[np.isin(order, always)], order[~np.isin(order, always)]])
    count = np.arange(1, len(order) + 1)
    fits = (count * np.maximum.accumulate(lengths[order]) <= _GOLDEN_TOKENS) | (count <= _LEAST_GOLDEN)
    return np.sort(order[: min(_GOLDEN_ROWS, int(fits.sum()))])
