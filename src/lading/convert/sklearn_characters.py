"""Vectorizers that look at characters: `char`, `char_wb`, and words after `strip_accents` or in Greek.

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
_SKIPPED, _LETTER, _CAPITAL = (
    2,
    3,
    4,
)  # what a character is to a capital sigma beside it; other signs are `UNKNOWN`
_CAPITAL_SIGMA, _SIGMA, _FINAL_SIGMA = "\u03a3", "\u03c3", "\u03c2"


@dataclass(frozen=True)
class _Alphabet:
    """The numbers of characters after the preprocessing; ``spaces`` is the first that is no white space."""

    numbers: dict[str, int]
    spaces: int
    word: Members | None  # in which characters words are, if words are counted

    def of(self, text: str) -> tuple[int, ...]:
        """Return the numbers of what a character became; several unknown ones are as good as one."""
        numbers: list[int] = []
        for character in text:
            if self.word is not None and not self.word[ord(character)]:
                number = NOTHING
            else:
                number = self.numbers.get(character, UNKNOWN)
            if number not in (NOTHING, UNKNOWN) or numbers[-1:] != [number]:
                numbers.append(number)
        if len(numbers) > _LONGEST and max(numbers) < self.spaces:
            # Such as the four words of U+FDFA, if no letter of them is known.
            numbers = [numbers[0], UNKNOWN, numbers[-1]]
        return tuple(numbers) or (_GONE,)


def character_counts(graph: TextGraph, text: str, vectorizer: Any) -> str:
    """Count n-grams of characters, or words of characters without accents, ``[batch, columns]``."""
    columns = max(vectorizer.vocabulary_.values()) + 1
    if vectorizer.analyzer == "word":
        return _word_counts(graph, text, vectorizer, columns)
    grams = list(_character_grams(vectorizer))
    alphabet = _alphabet(grams, None)
    codes = _codes(graph, text, vectorizer, alphabet)
    pool: list[Gram] = [
        (tuple(alphabet.numbers[character] for character in gram), column) for gram, column in grams
    ]
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
    spaces = (
        [] if word is not None else [" ", *sorted(character for character in _white() if character != " ")]
    )
    ordered = [*spaces, *sorted(used - set(spaces))]
    numbers = {character: at for at, character in enumerate(ordered, start=_SPACE)}
    return _Alphabet(numbers, _SPACE + len(spaces), word)


def _codes(graph: TextGraph, text: str, vectorizer: Any, alphabet: _Alphabet) -> str:
    """Return the numbers of each text's characters after the preprocessing, ``[batch, places]``."""
    accents, lowercase = vectorizer.strip_accents, vectorizer.lowercase
    changed = _changed(accents, lowercase=lowercase)
    default = (_GONE,) if accents == "ascii" else (UNKNOWN,)
    unchanged = map(chr, range(128)) if accents == "ascii" else alphabet.numbers
    raw = {**{character: character for character in unchanged}, **changed}
    known = {character: alphabet.of(became) for character, became in raw.items()}
    separated = graph.characters(text)
    final = alphabet.numbers.get(_FINAL_SIGMA)
    ends = _ends_word(graph, separated) if lowercase and final is not None and accents != "ascii" else None
    only_words = alphabet.word is not None and accents != "ascii"
    if alphabet.word is not None and only_words:
        separated = _of_words(graph, separated, known, alphabet.word)
        known = {character: codes for character, codes in known.items() if codes != (NOTHING,)}
    known = {character: codes for character, codes in known.items() if codes != default}
    rows = [(NOTHING,), default, *sorted(set(known.values()))]
    row_of = {codes: at for at, codes in enumerate(rows)}
    index = graph.looked_up(separated, {key: row_of[codes] for key, codes in known.items()}, default=1)
    if only_words:
        # The first row of the table is `NOTHING`: so is a character without a match, or all of them.
        index = graph.node("ReduceSum", [index, graph.axis(2)], keepdims=0)
    if ends is not None and final is not None:
        index = graph.node("Where", [ends, graph.constant(np.array(len(rows))), index])
        rows.append((final,))
    codes = _spread(graph, index, rows)
    # What a dotted capital I leaves can be gone, too.
    if default == (_GONE,) or any(len(codes) > 1 or codes == (_GONE,) for codes in known.values()):
        codes = graph.without(codes, graph.node("Equal", [codes, graph.constant(np.array(_GONE))]))
    return codes


def _of_words(graph: TextGraph, separated: str, known: dict[str, tuple[int, ...]], word: Members) -> str:
    """Keep the characters that are in words, ``[batch, characters, 0 or 1]``; most are in no table."""
    inside = word.copy()
    for character, codes in known.items():
        inside[ord(character)] = codes != (NOTHING,)
    return graph.tokens(separated, tokenexp=written(inside))


def _spread(graph: TextGraph, index: str, rows: list[tuple[int, ...]]) -> str:
    """Put the numbers of each character's row in its place: as many as the longest row has."""
    longest = max(len(codes) for codes in rows)
    table = np.array([[*codes, *[_GONE] * longest][:longest] for codes in rows])  # [rows, longest]
    several = graph.node("Gather", [graph.constant(table), index])  # [batch, characters, longest]
    return graph.node("Flatten", [several], axis=1)


def _ends_word(graph: TextGraph, separated: str) -> str:
    """Mark each capital sigma behind a letter and before none (Final_Sigma of Unicode)."""
    kinds = graph.looked_up(separated, _letters(), default=UNKNOWN)
    skipped = graph.node("Equal", [kinds, graph.constant(np.array(_SKIPPED))])
    letters = graph.without(kinds, skipped)
    is_letter = [
        graph.node("Greater", [graph.shifted(letters, by), graph.constant(np.array(_SKIPPED))])
        for by in (-1, 1)
    ]
    alone = graph.node(
        "And", [is_letter[0], graph.node("Not", [is_letter[1]])]
    )  # by the place among `letters`
    counted = graph.node("Cast", [graph.node("Not", [skipped])], to=7)
    place = graph.node("Sub", [graph.node("CumSum", [counted, graph.constant(np.array(1))]), graph.axis(1)])
    place = graph.node("Max", [place, graph.axis(0)])
    ends = graph.node("GatherElements", [graph.node("Cast", [alone], to=7), place], axis=1)
    sigma = graph.node("Equal", [kinds, graph.constant(np.array(_CAPITAL))])
    return graph.node("And", [sigma, graph.node("Greater", [ends, graph.constant(np.array(0))])])


@lru_cache(maxsize=1)
def _letters() -> dict[str, int]:
    """Return what characters are to a sigma, by what Python's lower case makes of one beside them."""
    kinds = {}
    for character in characters():
        if f"a{_CAPITAL_SIGMA}{character}".lower()[1] == _SIGMA:
            kinds[character] = _LETTER
        elif f"a{_CAPITAL_SIGMA}{character}a".lower()[1] == _SIGMA:
            kinds[character] = _SKIPPED
    return {**kinds, _CAPITAL_SIGMA: _CAPITAL}


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
    stop = {str(token) for token in vectorizer.get_stop_words() or ()}
    if stop and high > 1:
        raise ConverterFailed(
            f"`{type(vectorizer).__name__}`",
            expected="no `stop_words` in n-grams counted by character: with `strip_accents`, in Greek",
            found=f"stop_words, and ngram_range=`{(low, high)}`",
            hint="prepare the texts before, in training and in requests, with strip_accents=None; or use"
            " ngram_range=(1, 1)",
        )
    grams = []
    for gram, column in vectorizer.vocabulary_.items():
        words = [str(gram)] if high == 1 else str(gram).split(" ")
        reachable = all(
            len(token) >= least and all(word[ord(character)] for character in token) for token in words
        )
        if low <= len(words) <= high and reachable and not stop & set(words):
            grams.append((words, int(column)))
    alphabet = _alphabet([("".join(words), column) for words, column in grams], word)
    codes = graph.padded(_codes(graph, text, vectorizer, alphabet), before=1, after=0, value=NOTHING)
    if high > 1:
        codes = _closed_up(graph, _without_short(graph, codes, least))
    pool: list[Gram] = []
    for words, column in grams:
        spelt = [[alphabet.numbers[character] for character in token] for token in words]
        pool.append(((NOTHING, *(code for token in spelt for code in (*token, NOTHING))), column))
    return graph.gram_counts(codes, pool, columns=columns)


def token_pattern(vectorizer: Any) -> str:
    """Return the pattern of a vectorizer's tokens; its tokenizer may be ``str.split``."""
    return r"\S+" if vectorizer.tokenizer is not None else str(vectorizer.token_pattern)


def _word_class(vectorizer: Any) -> tuple[Members, int]:
    try:
        return word_run(token_pattern(vectorizer))
    except (PatternUnsupported, re.error) as error:
        raise ConverterFailed(
            f"`{type(vectorizer).__name__}`, `token_pattern`",
            expected="a run of one class of characters: with `strip_accents`, and in Greek",
            found=f"`{token_pattern(vectorizer)}`, in it {error}",
            hint="use a pattern like r'(?u)\\b\\w\\w+\\b' (the default), r'\\w+' or r'\\S+', or prepare the"
            " texts before, in training and in requests",
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
    """Return the texts of the characters that the preprocessing changes, but for those that ASCII drops."""
    strip = {None: str, "unicode": strip_accents_unicode, "ascii": strip_accents_ascii}[accents]
    changed = {}
    for character in characters():
        small = character.lower() if lowercase else character
        drops = accents == "ascii" and not character.isascii()
        if small == character and not drops and (accents is None or not _has_accent(character)):
            continue  # most are: stripping all takes seconds
        became = strip(small)
        if accents == "ascii" and not became:
            continue
        if became != character:
            changed[character] = became
    return changed


def _has_accent(character: str) -> bool:
    return not character.isascii() and bool(
        unicodedata.combining(character)
        or unicodedata.decomposition(character)
        or "\uac00" <= character <= "\ud7a3"
    )


def _white() -> list[str]:
    return re.findall(r"\s", characters())
