"""JSON with NaN, Infinity and -Infinity as bare words: JSON has none of them, but Python writes them so."""

from __future__ import annotations

import json
import math
from typing import Any


def may_have_nan(text: bytes) -> bool:
    """Return whether such a word may be what another parser has stumbled over."""
    return b"NaN" in text or b"Infinity" in text


def loads(text: bytes) -> Any:
    """Parse; raises `ValueError`, for half a surrogate pair too, which is no text, and `RecursionError`."""
    value = json.loads(text.decode(), parse_float=_finite)
    if b"\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):  # 1e400 is a mistake; Infinity is written as the word.
        raise ValueError("Number out of range")
    return value
