"""Vectorizers that look at characters: `char`, `char_wb`, and words after `strip_accents`.

Every character becomes a number, those that turn into several become several, and n-grams are found among the
numbers. A word is the n-gram of its characters between two boundaries.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import strip_accents_ascii, strip_accents_unicode

from lading.convert.text_graph import NOTHING, UNKNOWN, Gram, TextGraph
from lading.convert.token_patterns import Members, PatternUnsupported, characters, word_run, written
from lading.errors import ConverterFailed

_GONE = 2  # the number of a character that leaves nothing, such as a combining accent
_SPACE = 3  # the first of the numbers of white space
_LONGEST = 4  # of what one character may become, if no vocabulary has any of it
_CAPITAL_SIGMA, _SIGMA, _FINAL_SIGMA = "\u03a3", "\u03c3", "\u03c2"


@dataclass(frozen=True)
class _Alphabet:
    """The numbers of characters after the preprocessing; ``spaces`` is the first that is no white space."""

    numbers: dict[str, int]
    spaces: int
    word: Members | None  # in which characters words are, if words are counted

    def of(self, text: str) -> tuple[int, ...]:
        """Return the numbers of what a character became; several unknown ones are as good as one."""
        found: list[int] = []
        for character in text:
            if self.word is not None and not self.word[ord(character)]:
                number = NOTHING
            else:
                number = self.numbers.get(character, UNKNOWN)
            if number not in (NOTHING, UNKNOWN) or found[-1:] != [number]:
                found.append(number)
        if len(found) > _LONGEST and max(found) < self.spaces:
            # Such as the four words of U+FDFA, if no letter of them is known.
            found = [found[0], UNKNOWN, found[-1]]
        return tuple(found) or (_GONE,)


def character_counts(graph: TextGraph, text: str, vectorizer: Any) -> str:
    """Count n-grams of characters, or words of characters without accents, ``[batch, columns]``."""
    columns = max(vectorizer.vocabulary_.values()) + 1
    if vectorizer.analyzer == "word":
        return _word_counts(graph, text, vectorizer, columns)
    grams = list(_character_grams(vectorizer))
    alphabet = _alphabet(grams, None)
    codes = _codes(graph, text, vectorizer, alphabet)
    pool: list[Gram] = [(tuple(alphabet.numbers[one] for one in gram), column) for gram, column in grams]
    if vectorizer.analyzer == "char":
        return graph.gram_counts(_collapsed(graph, codes, alphabet), pool, columns=columns)
    bounded = _between_spaces(graph, codes, alphabet)
    single = next((column for gram, column in grams if gram == " "), None)
    counts = graph.gram_counts(bounded, [gram for gram in pool if gram[0] != (_SPACE,)], columns=columns)
    return counts if single is None else _with_spaces(graph, counts, bounded, single, columns)


def _character_grams(vectorizer: Any) -> Iterator[tuple[str, int]]:
    """Return (n-gram, column) of what the vectorizer can find; a given vocabulary may hold more."""
    low, high = vectorizer.ngram_range
    for word, column in vectorizer.vocabulary_.items():
        gram = str(word)
        # Of a word that is shorter than the shortest n-gram scikit-learn counts the whole.
        whole = vectorizer.analyzer == "char_wb" and gram[:1] == gram[-1:] == " " and 3 <= len(gram) < low
        if low <= len(gram) <= high or whole:
            yield gram, int(column)


def _alphabet(grams: list[tuple[str, int]], word: Members | None) -> _Alphabet:
    used = {character for gram, _ in grams for character in gram}
    spaces = [] if word is not None else [" ", *sorted(character for character in _white() if character != " ")]
    ordered = [*spaces, *sorted(used - set(spaces))]
    numbers = {character: at for at, character in enumerate(ordered, start=_SPACE)}
    return _Alphabet(numbers, _SPACE + len(spaces), word)


def _codes(graph: TextGraph, text: str, vectorizer: Any, alphabet: _Alphabet) -> str:
    """Return the numbers of each text's characters after the preprocessing, ``[batch, places]``."""
    accents, lowercase = vectorizer.strip_accents, vectorizer.lowercase
    changed = _changed(accents, lowercase=lowercase)
    default = (_GONE,) if accents == "ascii" else (UNKNOWN,)
    unchanged = map(chr, range(128)) if accents == "ascii" else alphabet.numbers
    raw = {**{one: one for one in unchanged}, **changed}
    known = {one: alphabet.of(became) for one, became in raw.items()}
    separated = graph.characters(text)
    if alphabet.word is not None and accents != "ascii":
        separated = _of_words(graph, separated, known, alphabet.word)
        known = {one: codes for one, codes in known.items() if codes != (NOTHING,)}
    known = {one: codes for one, codes in known.items() if codes != default}
    final = alphabet.numbers.get(_FINAL_SIGMA)
    sigma = lowercase and final is not None and accents != "ascii"
    codes = _numbered(graph, separated, known, default, final if sigma else None)
    # What a dotted capital I leaves can be gone, too.
    if default == (_GONE,) or any(len(codes) > 1 or codes == (_GONE,) for codes in known.values()):
        codes = graph.without(codes, graph.node("Equal", [codes, graph.constant(np.array(_GONE))]))
    return codes


def _of_words(graph: TextGraph, separated: str, known: dict[str, tuple[int, ...]], word: Members) -> str:
    """Empty the characters that are in no word; of those that are, most are in no table."""
    inside = word.copy()
    for one, codes in known.items():
        inside[ord(one)] = codes != (NOTHING,)
    found = graph.node("Tokenizer", [separated], tokenexp=written(inside))  # [batch, characters, 0 or 1]
    # Where no character is in a word, the last dimension is 0.
    some = graph.node("Concat", [found, graph.node("Unsqueeze", [separated, graph.axis(2)])], axis=2)
    has = graph.node("Shape", [found], start=2)
    first = graph.node("Slice", [some, graph.axis(0), graph.axis(1), graph.axis(2)])
    empty = graph.node("Greater", [graph.axis(1), has])
    nothing = graph.constant(np.array([[[""]]], dtype=object))
    return graph.node("Squeeze", [graph.node("Where", [empty, nothing, first]), graph.axis(2)])


def _numbered(
    graph: TextGraph,
    separated: str,
    known: dict[str, tuple[int, ...]],
    default: tuple[int, ...],
    final_sigma: int | None,
) -> str:
    """Look the characters up: one number each, or as many as the longest becomes."""
    longest = max([1, *(len(codes) for codes in known.values())])
    rows = [(NOTHING,), default, *sorted(set(known.values()))]
    final = len(rows)
    if final_sigma is not None:
        rows.append((final_sigma,))
    row_of = {codes: at for at, codes in enumerate(rows[:final])}
    index = graph.looked_up(separated, {one: row_of[codes] for one, codes in known.items()}, default=1)
    if final_sigma is not None:
        at_end = _ends_word(graph, separated)
        index = graph.node("Where", [at_end, graph.constant(np.array(final)), index])
    fill = [_GONE] * longest
    table = np.array([[*codes, *fill][:longest] for codes in rows])  # [rows, longest]
    several = graph.node("Gather", [graph.constant(table), index])  # [batch, characters, longest]
    return graph.node("Flatten", [several], axis=1)


def _ends_word(graph: TextGraph, separated: str) -> str:
    """Mark each capital sigma behind a letter and before none: its lower case is another (SpecialCasing.txt)."""
    cased = {one: 2 for one in characters() if one.lower() != one or one.upper() != one}
    kinds = graph.looked_up(separated, {**cased, _CAPITAL_SIGMA: 3}, default=UNKNOWN)
    one, two = (graph.constant(np.array(value)) for value in (1, 2))
    before = graph.node("Greater", [graph.shifted(kinds, -1), one])
    behind = graph.node("Greater", [graph.shifted(kinds, 1), one])
    alone = graph.node("And", [before, graph.node("Not", [behind])])
    return graph.node("And", [graph.node("Greater", [kinds, two]), alone])


def _is_white(graph: TextGraph, codes: str, alphabet: _Alphabet) -> str:
    low = graph.node("Greater", [codes, graph.constant(np.array(_SPACE - 1))])
    high = graph.node("Less", [codes, graph.constant(np.array(alphabet.spaces))])
    return graph.node("And", [low, high])


def _collapsed(graph: TextGraph, codes: str, alphabet: _Alphabet) -> str:
    """Make one space of two or more white characters; one alone stays what it is."""
    white = _is_white(graph, codes, alphabet)
    before = _is_white(graph, graph.shifted(codes, -1), alphabet)
    behind = _is_white(graph, graph.shifted(codes, 1), alphabet)
    several = graph.node("And", [white, behind])
    spaced = graph.node("Where", [several, graph.constant(np.array(_SPACE)), codes])
    return graph.without(spaced, graph.node("And", [white, before]))


def _between_spaces(graph: TextGraph, codes: str, alphabet: _Alphabet) -> str:
    """Put one space around and between words; no n-gram of `char_wb` has one inside."""
    # In front an unknown character: the space behind it is the first of its run.
    codes = graph.padded(codes, before=1, after=0, value=NOTHING)
    codes = graph.padded(codes, before=1, after=0, value=UNKNOWN)
    gap = _is_gap(graph, codes, alphabet)
    before = _is_gap(graph, graph.shifted(codes, -1), alphabet)
    spaced = graph.node("Where", [gap, graph.constant(np.array(_SPACE)), codes])
    return graph.without(spaced, graph.node("And", [gap, before]))


def _is_gap(graph: TextGraph, codes: str, alphabet: _Alphabet) -> str:
    nothing = graph.node("Equal", [codes, graph.constant(np.array(NOTHING))])
    return graph.node("Or", [nothing, _is_white(graph, codes, alphabet)])


def _with_spaces(graph: TextGraph, counts: str, bounded: str, single: int, columns: int) -> str:
    """Count the single spaces: two around each word, although neighbours share one here."""
    space = graph.constant(np.array(_SPACE))
    words = graph.node(
        "And",
        [
            graph.node("Equal", [graph.shifted(bounded, -1), space]),
            graph.node("Not", [graph.node("Equal", [bounded, space])]),
        ],
    )
    inside = graph.node("And", [words, graph.node("Greater", [bounded, graph.constant(np.array(NOTHING))])])
    total = graph.node("ReduceSum", [graph.node("Cast", [inside], to=1), graph.axis(1)])  # [batch, 1]
    twice = np.zeros(columns, dtype=np.float32)
    twice[single] = 2
    return graph.node("Add", [counts, graph.node("Mul", [total, graph.constant(twice)])])


def _word_counts(graph: TextGraph, text: str, vectorizer: Any, columns: int) -> str:
    """Count words as n-grams of characters between boundaries."""
    word, least = _word_class(vectorizer)
    low, high = vectorizer.ngram_range
    stop = {str(one) for one in vectorizer.get_stop_words() or ()}
    if stop and high > 1:
        raise ConverterFailed(
            f"`{type(vectorizer).__name__}`",
            expected="no `stop_words` where words are joined and their characters change (`strip_accents`)",
            found=f"stop_words, and ngram_range=`{(low, high)}`",
            hint="prepare the texts before, in training and in requests, with strip_accents=None; or use"
            " ngram_range=(1, 1)",
        )
    grams = []
    for gram, column in vectorizer.vocabulary_.items():
        words = [str(gram)] if high == 1 else str(gram).split(" ")
        reachable = all(len(one) >= least and all(word[ord(each)] for each in one) for one in words)
        if low <= len(words) <= high and reachable and not stop & set(words):
            grams.append((words, int(column)))
    alphabet = _alphabet([("".join(words), column) for words, column in grams], word)
    codes = graph.padded(_codes(graph, text, vectorizer, alphabet), before=1, after=0, value=NOTHING)
    if high > 1:
        codes = _closed_up(graph, _without_short(graph, codes, least))
    pool: list[Gram] = []
    for words, column in grams:
        spelt = [[alphabet.numbers[each] for each in one] for one in words]
        pool.append((tuple([NOTHING, *(code for one in spelt for code in (*one, NOTHING))]), column))
    return graph.gram_counts(codes, pool, columns=columns)


def _word_class(vectorizer: Any) -> tuple[Members, int]:
    try:
        return word_run(vectorizer.token_pattern)
    except (PatternUnsupported, re.error) as error:
        raise ConverterFailed(
            f"`{type(vectorizer).__name__}`, `token_pattern`",
            expected="a run of one class of characters, since their characters change before (`strip_accents`)",
            found=f"`{vectorizer.token_pattern}`, in it {error}",
            hint="use a pattern like r'(?u)\\b\\w\\w+\\b' (the default), r'\\w+' or r'\\S+', or strip the accents before,"
            " in training and in requests",
        ) from error


def _without_short(graph: TextGraph, codes: str, least: int) -> str:
    """Make boundaries of the words that have fewer than `least` characters."""
    zero = graph.constant(np.array(NOTHING))
    begins = graph.node("Greater", [codes, zero])
    for by in range(1, least):
        begins = graph.node("And", [begins, graph.node("Greater", [graph.shifted(codes, by), zero])])
    marks = graph.node("Cast", [begins], to=7)  # 1 where `least` characters of a word begin
    inside = marks
    for by in range(1, least):
        inside = graph.node("Max", [inside, graph.shifted(marks, -by)])
    return graph.node("Mul", [codes, inside])


def _closed_up(graph: TextGraph, codes: str) -> str:
    """Make one boundary of several."""
    codes = graph.padded(codes, before=1, after=0, value=UNKNOWN)  # so that the first is kept
    zero = graph.constant(np.array(NOTHING))
    gap, before = (graph.node("Equal", [ids, zero]) for ids in (codes, graph.shifted(codes, -1)))
    return graph.without(codes, graph.node("And", [gap, before]))


@lru_cache(maxsize=4)
def _changed(accents: str | None, *, lowercase: bool) -> dict[str, str]:
    """Return what becomes of each character that the preprocessing changes; left out what ASCII drops."""
    strip = {None: str, "unicode": strip_accents_unicode, "ascii": strip_accents_ascii}[accents]
    changed = {}
    for one in characters():
        small = one.lower() if lowercase else one
        if small == one and (accents is None or not _has_accent(one)):
            if accents != "ascii" or one.isascii():
                continue
        became = strip(small)
        if accents == "ascii" and not became:
            continue
        if became != one:
            changed[one] = became
    return changed


def _has_accent(one: str) -> bool:
    return not one.isascii() and bool(unicodedata.combining(one) or unicodedata.decomposition(one) or "\uac00" <= one <= "\ud7a3")


def _white() -> list[str]:
    return re.findall(r"\s", characters())
