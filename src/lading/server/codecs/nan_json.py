"""JSON with NaN, Infinity and -Infinity as bare words, which JSON does not have but Python writes."""

from __future__ import annotations

import json
import math
from typing import Any


def may_have_nan(text: bytes) -> bool:
    """Return whether another parser may have failed because of such a word."""
    return b"NaN" in text or b"Infinity" in text


def loads(text: bytes) -> Any:
    """Parse JSON; raises `ValueError` and `RecursionError`."""
    value = json.loads(text.decode(), parse_float=_finite)
    if b"\\ud" in text.lower():
        # An escape may be half a surrogate pair, which is no text: to encode it raises a ValueError.
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):  # 1e400 is a mistake: who means Infinity writes the word.
        raise ValueError("Number out of range")
    return value
