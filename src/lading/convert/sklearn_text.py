"""`CountVectorizer` and `TfidfVectorizer` as graphs that read text as scikit-learn does, in every script.

skl2onnx 1.20 makes tokens of ASCII letters only, leaves stop words in n-grams, takes ``log(1 + count)`` for
``1 + log(count)``, and knows neither `char_wb` nor `strip_accents`. Here texts become numbers first, one for
each token (this file) or character (`sklearn_characters`), and what scikit-learn does to lists is done to
rows of numbers. Proves nothing; packing does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from skl2onnx.common.data_types import DoubleTensorType
from sklearn.feature_extraction.text import TfidfVectorizer

from lading.convert.sklearn_characters import character_counts, token_pattern
from lading.convert.text_graph import NOTHING, UNKNOWN, Gram, TextGraph
from lading.convert.token_patterns import DOTTED_I, PatternUnsupported, TokenRule, token_rule
from lading.errors import ConverterFailed

_STOP = 2  # the number of a token that is left out before n-grams are made
_FIRST_WORD = 3
_SIGMAS = "\u03c3\u03c2"
_PIECES = f"[^{DOTTED_I}]*{DOTTED_I}|[^{DOTTED_I}]+"


def convert_text(scope: Any, operator: Any, container: Any) -> None:
    """Convert one vectorizer; raises `ConverterFailed` for what cannot be written as a graph."""
    vectorizer = operator.raw_operator
    _check(vectorizer)
    graph = TextGraph(scope, container)
    text = graph.node("Reshape", [operator.inputs[0].full_name, graph.constant(np.array([-1]))])  # [batch]
    if (
        vectorizer.analyzer == "word"
        and vectorizer.strip_accents is None
        and not _needs_characters(vectorizer)
    ):
        counts = _word_counts(graph, text, vectorizer)
    else:
        counts = character_counts(graph, text, vectorizer)
    values = _weighted(graph, counts, vectorizer)
    output = operator.outputs[0]
    double = isinstance(output.type, DoubleTensorType)
    graph.node("Cast", [values], output=output.full_name, to=11 if double else 1)


def _check(vectorizer: Any) -> None:
    """Refuse what is code or a file, each with the way out."""
    kind = type(vectorizer).__name__
    ways = {
        "tokenizer": "describe the tokens by token_pattern, or tokenise before: join the tokens by spaces, in"
        " training and in requests, and use token_pattern=r'\\S+'",
        "preprocessor": "use lowercase and strip_accents, or prepare the texts before, in training and in"
        " requests",
        "analyzer": "use analyzer='word', 'char' or 'char_wb', or join the features by spaces before, in"
        " training and in requests, and use token_pattern=r'\\S+'",
        "strip_accents": "use strip_accents='unicode', 'ascii' or None",
    }
    for name, hint in ways.items():
        value = getattr(vectorizer, name)
        if callable(value) and (name, value) != ("tokenizer", str.split):
            function = f"the function `{getattr(value, '__name__', value)}`"
            raise ConverterFailed(
                f"`{kind}`, `{name}`", expected="no Python code: ONNX has none", found=function, hint=hint
            )
    if vectorizer.input != "content":
        raise ConverterFailed(
            f"`{kind}`, `input`", expected="`content`: a server gets texts", found=f"`{vectorizer.input}`"
        )


def _rule(vectorizer: Any) -> TokenRule:
    pattern = token_pattern(vectorizer)
    where = f"`{type(vectorizer).__name__}`, `token_pattern`"
    try:
        return token_rule(pattern, lowercase=vectorizer.lowercase)
    except (PatternUnsupported, re.error) as error:
        raise ConverterFailed(
            where,
            expected="a pattern that ONNX Runtime can search for",
            found=f"`{pattern}`, in it {error}",
            hint="use a pattern like r'(?u)\\b\\w\\w+\\b' (the default), r'\\w+', r'[a-z]+' or r'\\S+'",
        ) from error


def _needs_characters(vectorizer: Any) -> bool:
    """Return whether Python's lower case of the vocabulary is another than the StringNormalizer's.

    Of all characters two differ: a capital sigma becomes another letter at the end of a word, and a dotted
    capital I leaves its dot.
    """
    if not vectorizer.lowercase:
        return False
    used = {character for word in vectorizer.vocabulary_ for character in str(word)}
    return bool(used & set(_SIGMAS)) or ("\u0307" in used and _rule(vectorizer).holds_dot)


def _word_counts(graph: TextGraph, text: str, vectorizer: Any) -> str:
    """Count words: token by token to numbers, without stop words, then n-grams of numbers."""
    rule = _rule(vectorizer)
    stop = {str(word) for word in vectorizer.get_stop_words() or ()}
    grams = list(_word_grams(vectorizer, rule, stop))
    numbers = dict.fromkeys(stop, _STOP)
    for words, _ in grams:
        for word in words:
            numbers.setdefault(word, _FIRST_WORD + len(numbers))
    ids = _word_ids(graph, text, rule, numbers, lowercase=vectorizer.lowercase)
    # Of single words none stands between two others: what is left out need not be taken out.
    if vectorizer.ngram_range[1] > 1 and (stop or rule.no_token or rule.splits_at_dot):
        left_out = graph.node("Equal", [ids, graph.constant(np.array(_STOP))])
        nothing = graph.node("Equal", [ids, graph.constant(np.array(NOTHING))])  # at the end of a piece
        ids = graph.without(ids, graph.node("Or", [left_out, nothing]))
    pool: list[Gram] = [(tuple(numbers[word] for word in words), column) for words, column in grams]
    return graph.gram_counts(ids, pool, columns=max(vectorizer.vocabulary_.values()) + 1)


def _word_grams(vectorizer: Any, rule: TokenRule, stop: set[str]) -> Iterator[tuple[Sequence[str], int]]:
    """Return (words, column) of what the vectorizer can find; a given vocabulary may hold more."""
    low, high = vectorizer.ngram_range
    if rule.may_hold_spaces and high > 1:
        raise ConverterFailed(
            f"`{type(vectorizer).__name__}`, `token_pattern`",
            expected="tokens without spaces where `ngram_range` joins tokens by spaces",
            found=f"`{token_pattern(vectorizer)}`",
            hint="use ngram_range=(1, 1), or a token_pattern without the space",
        )
    for gram, column in vectorizer.vocabulary_.items():
        words = (str(gram),) if high == 1 else tuple(str(gram).split(" "))
        if low <= len(words) <= high and not stop & set(words):
            yield words, int(column)


def _word_ids(
    graph: TextGraph, text: str, rule: TokenRule, numbers: Mapping[str, int], *, lowercase: bool
) -> str:
    """Return the number of each token, ``[batch, tokens]``; rows are filled up with `NOTHING`."""
    pieces = graph.tokens(text, tokenexp=_PIECES) if rule.splits_at_dot else text
    tokens = graph.node("Flatten", [graph.tokens(pieces, tokenexp=rule.regex)], axis=1)
    lowered = graph.lowered(tokens) if lowercase else tokens
    ids = graph.looked_up(lowered, numbers)
    if rule.holds_dot:
        # No vocabulary has such a word; else it `_needs_characters`.
        unknown = graph.constant(np.array(UNKNOWN))
        ids = graph.node("Where", [graph.contains(tokens, DOTTED_I), unknown, ids])
    if rule.no_token:
        left_out = graph.constant(np.array(_STOP))
        ids = graph.node("Where", [graph.contains(tokens, rule.no_token), left_out, ids])
    # One more, so that no row is empty.
    return graph.padded(ids, before=0, after=1, value=NOTHING)


def _weighted(graph: TextGraph, counts: str, vectorizer: Any) -> str:
    """Weigh counts as the vectorizer does: binary, logarithmic, by rarity, normalised."""
    unit = graph.constant(np.array(1.0, dtype=np.float32))
    if vectorizer.binary:
        counts = graph.node("Min", [counts, unit])
    if not isinstance(vectorizer, TfidfVectorizer):
        return counts
    if vectorizer.sublinear_tf:
        logarithm = graph.node("Log", [graph.node("Max", [counts, unit])])
        counts = graph.node("Add", [logarithm, graph.node("Min", [counts, unit])])  # 0 stays 0
    if vectorizer.use_idf:
        idf = np.asarray(vectorizer.idf_, dtype=np.float32)  # [columns]
        counts = graph.node("Mul", [counts, graph.constant(idf)])
    if vectorizer.norm is not None:
        counts = graph.node("Normalizer", [counts], norm=vectorizer.norm.upper())
    return counts
