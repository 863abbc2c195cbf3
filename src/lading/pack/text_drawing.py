"""Texts drawn from what a model knows: every word of its vocabulary, written in the ways that people write.

A vocabulary is longer than what samples show of it, and a converter that reads ASCII only, or that sees no
difference between one space and two, is found by such texts alone.
"""

from __future__ import annotations

import itertools
import math
import unicodedata
from collections.abc import Iterator

import numpy as np

from lading.signature import Array

_WORDS_PER_TEXT = 8
_MOST_WORDS_PER_TEXT = 400
_SEPARATORS = ("  ", " \t", "\n", "\r\n ", ", ", "\u00a0", "\u3000", " - ", "/", "!", " \u2026 ", "\u200b")
# Of scripts that tokenisers stumble on, and of what Unicode maps in ways of its own: two characters for one
# in lower case, a letter that is another at the end of a word, ligatures, fractions, signs joined to one.
_FOREIGN = (
    "\u0130stanbul",
    "I\u015eI\u011eI",
    "caf\u00e9",
    "CAFE\u0301",
    "ma\u00f1ana",
    "Stra\u00dfe",
    "\ud55c\uad6d\uc5b4",
    "\ubb38\uc7a5\uc774",
    "\u6771\u4eac",
    "\u30bf\u30ef\u30fc",
    "\u3072\u3089\u304c\u306a",
    "\u041f\u0440\u0438\u0432\u0435\u0442",
    "\u0451\u043b\u043a\u0430",
    "\u0395\u03bb\u03bb\u03ac\u03b4\u03b1",
    "\u0639\u0631\u0628\u064a",
    "\u0939\u093f\u0928\u094d\u0926\u0940",
    "\u0e44\u0e17\u0e22",
    "\U0001f600",
    "\U0001f44d\U0001f3fd",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\ufb01ne",
    "\u00bd",
    "\uff21\uff22\uff11",
    "\u216b",
    "12.5",
    "don't",
    "a_b",
    "co-op",
    "x",
    "'",
    "#",
)


def draw_texts(words: tuple[str, ...], values: Array, rows: int, random: np.random.Generator) -> Array:
    """Draw `rows` texts of a column: of known `words`, of the samples' words, and of those of other scripts.

    Every known word occurs, as it is and in other cases, as long as the texts have room for it.
    """
    own = tuple(dict.fromkeys(word for value in values[:2000] for word in str(value).split()))
    vocabulary = words or own or _FOREIGN
    plain, upper, varied = (_in_turn(vocabulary, random) for _ in range(3))
    # One text in eight has known words alone as they are, one in upper case: enough for all.
    length = min(_MOST_WORDS_PER_TEXT, max(_WORDS_PER_TEXT, math.ceil(8 * len(vocabulary) / rows)))
    texts = np.empty(rows, dtype=object)
    for row in range(rows):
        if row % 4 == 0:
            alone = " ".join(itertools.islice(plain if row % 8 == 0 else upper, length))
            texts[row] = alone if row % 8 == 0 else alone.upper()
            continue
        count = int(random.integers(_WORDS_PER_TEXT // 2, _WORDS_PER_TEXT + 1))
        written = [_varied(word, own, random) for word in itertools.islice(varied, count)]
        texts[row] = "".join(word + _separator(random) for word in written)
    for row, text in zip(range(1, rows), ("", " ", "\n\t "), strict=False):
        texts[row] = text
    return texts


def _in_turn(words: tuple[str, ...], random: np.random.Generator) -> Iterator[str]:
    """Return words without end, each as often as any other, in drawn orders."""
    while True:
        yield from (words[at] for at in random.permutation(len(words)))


def _separator(random: np.random.Generator) -> str:
    return " " if random.random() < 0.6 else str(random.choice(_SEPARATORS))


def _varied(word: str, own: tuple[str, ...], random: np.random.Generator) -> str:
    """Return the word in another case or spelling, or another word."""
    style = int(random.integers(0, 12))
    if style == 0:
        return word.upper()
    if style == 1:
        return word.title()
    if style == 2:
        return unicodedata.normalize("NFD", word)
    if style == 3:
        return word + str(random.choice(["\u0301", "s", "1", "\u00e9", "\uac00", "\u4e2d", "\u0430", "_"]))
    if style == 4:
        return word.swapcase()
    if style == 5 and own:
        return own[int(random.integers(0, len(own)))]
    if style in (6, 7):
        return _FOREIGN[int(random.integers(0, len(_FOREIGN)))]
    return word
