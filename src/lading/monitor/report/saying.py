"""How charts say their words: in English, unless a page brings the words of another language.

A sentence is a literal where it is said, so that a test can collect all of them. Knows no other language.
"""

from __future__ import annotations

from typing import Protocol


class Say(Protocol):
    """Returns a sentence with its ``{values}`` filled in, in some language."""

    def __call__(self, sentence: str, /, **values: str) -> str:
        """Return the sentence as text; values stay as they are."""


def in_english(sentence: str, /, **values: str) -> str:
    """Return a sentence in English: as it is written in the code."""
    return sentence.format(**values)


def capitalised(text: str) -> str:
    """Return a sentence with a capital at its beginning, where its writing has capitals."""
    return text[:1].upper() + text[1:]
