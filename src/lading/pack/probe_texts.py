"""The texts on which a model with a tokenizer is tried: samples, and texts in scripts that samples may lack.

Tokenizers differ in accents, in Hangul and in emoji, and a label alone does not show it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lading.convert.table import MISSING_TEXT_HINT, Table, is_missing
from lading.errors import SamplesRefused
from lading.signature import Array

TEXT, PAIR = "text", "text_pair"

PROBES = (
    "",
    " \t\n",
    "a",
    "Crème brûlée, déjà vu; el niño comió piñata",
    "Cafe\u0301 nai\u0308ve A\u030angstro\u0308m \u1e9b\u0323",  # accents as characters of their own
    "맛있는 음식을 먹었다. 한국어 텍스트입니다!",
    "\u1112\u1161\u11ab\u1100\u1173\u11af \u1106\u116e\u11ab\u110c\u1161\u11bc",  # Hangul in its parts
    "東京タワーは高い。日本語のテキスト 漢字かな",
    "今天天气很好，我们去公园。𠮷野家",
    "I love it 😀 👍🏽 👨‍👩‍👧 ❤️ 🇰🇷",
    "Привет, МИР! ёлка ЁЛКА",
    "שלום مَرْحَبًا हिन्दी ภาษาไทย",
    "İSTANBUL ışık Straße ΣΊΣΥΦΟΣ ǅ",
    "ＡＢＣ１２３ ½ ﬁne Ⅻ ①",
    "tabs\tand\r\nlines   many  \u3000spaces\u00a0here\u200bnow",
    "don't we'll https://example.com/a?b=c#d @you 3.14 1,000 $5 co-op a_b",
    "caf\ufffd \u202eright to left\u202c \x07 \ud7ff\ue000",
    "Great! 좋아요 👍 très bien, 素晴らしい",
)
"""Texts in several scripts, and what tokenizers treat in ways of their own."""

_HINT = "pass a list of texts, a mapping with `text` (and `text_pair`), or a file with such columns"


def read_texts(samples: Any, title: str) -> Table:
    """Return texts, or pairs of them, as a table of named arrays; raises `SamplesRefused`."""
    if samples is None:
        raise _refused(title, "texts like those of requests", "none", _HINT)
    if hasattr(samples, "to_numpy") and hasattr(samples, "columns"):
        samples = {str(name): samples[name].to_numpy() for name in samples.columns}
        # A file of one column may call it as it likes.
        samples = {TEXT: next(iter(samples.values()))} if len(samples) == 1 else samples
    if not isinstance(samples, Mapping):
        samples = _by_name(samples, title)
    unknown = [name for name in samples if name not in (TEXT, PAIR)]
    if TEXT not in samples or unknown:
        listed = ", ".join(f"`{name}`" for name in samples)
        raise _refused(title, f"`{TEXT}`, and `{PAIR}` for pairs", listed, _HINT)
    arrays = {name: _texts(samples[name], title) for name in (TEXT, PAIR) if name in samples}
    sizes = {len(array) for array in arrays.values()}
    if len(sizes) > 1 or sizes == {0}:
        raise _refused(title, "at least one text, and as many pairs", f"lengths {sorted(sizes)}")
    return Table("named", arrays)


def with_probes(table: Table, long_text: str) -> Table:
    """Return the texts with those of this file and a long one under them."""
    probes = np.array([*PROBES, long_text], dtype=object)
    # Each beside another one, so that a pair is of two scripts.
    added = {TEXT: probes, PAIR: np.roll(probes, 1)}
    return table.with_arrays(
        {name: np.concatenate([array, added[name]]) for name, array in table.arrays.items()}
    )


def probe_rows(table: Table) -> Array:
    """Return the rows of the texts of this file in a table `with_probes`."""
    return np.arange(table.rows - 1 - len(PROBES), table.rows - 1)


def long_text(count: Callable[[str], int], most: int) -> str:
    """Return a text of more than `most` tokens, as `count` counts them."""
    text = " ".join(PROBES[3:])
    while count(text) <= most:
        text = f"{text} {text}"
    return text


def _by_name(samples: Any, title: str) -> Mapping[str, Any]:
    rows = list(samples) if not isinstance(samples, str | bytes) else [samples]
    if rows and all(isinstance(row, tuple | list | np.ndarray) and len(row) == 2 for row in rows):
        return {TEXT: [row[0] for row in rows], PAIR: [row[1] for row in rows]}
    if rows and isinstance(rows[0], tuple | list | np.ndarray):
        raise _refused(title, "a text, or a pair of texts, in each row", f"{len(rows[0])} values", _HINT)
    return {TEXT: rows}


def _texts(values: Any, title: str) -> Array:
    array = np.array([*values], dtype=object)
    for row, value in enumerate(values):
        if not isinstance(value, str):
            missing = is_missing(value)
            kind = "a missing value" if missing else f"`{type(value).__name__}`"
            raise _refused(
                title, "texts only", f"{kind} in row {row}", MISSING_TEXT_HINT if missing else _HINT
            )
        # numpy's own texts are a class of their own.
        array[row] = str(value)
    return array


def _refused(title: str, expected: str, found: str, hint: str | None = None) -> SamplesRefused:
    return SamplesRefused(f"samples of `{title}`", expected=expected, found=found, hint=hint)
