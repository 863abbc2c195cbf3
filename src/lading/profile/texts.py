"""Texts that are no categories, as numbers: their lengths, or the times that they state. Counts nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from lading.signature import Array


def text_numbers(kind: str, data: Array) -> Array:
    """Return what is measured of texts of the kind ``text`` or ``timestamp``: lengths, or Unix times.

    NaN is a missing text, infinity one that is no time: it is counted as unseen.
    """
    if kind == "text":
        return np.array([len(text) or math.nan for text in data.tolist()], np.float64)
    return np.array([_unix_time(text) if text else math.nan for text in data.tolist()], np.float64)


def are_times(texts: Sequence[str]) -> bool:
    """Return whether `texts`, none of them empty, are all dates or times as ISO 8601 writes them."""
    # A look at a few spares the rest of most columns.
    return bool(texts) and all(
        all(_unix_time(text) < math.inf for text in part) for part in (texts[:20], texts[20:])
    )


def _unix_time(text: str) -> float:
    """Return the seconds since 1970, infinity if the text is no time; without a zone it is UTC."""
    # A number of eight digits is a date by ISO 8601, too, and more often something else.
    if text[4:5] != "-" or text[7:8] != "-":
        return math.inf
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return math.inf
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
