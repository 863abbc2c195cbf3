"""Errors that lading has raised, in the language of a page: by their form, and by the wording of their parts.

An error is one sentence, *where: expected X, found Y*, and ``languages/`` has the parts. Of a part that is
not known, such as the message of an exception of a model's own code, nothing is guessed: it stays as it is,
marked as English. Knows no language.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from markupsafe import Markup

from lading.hub.words import Translate, phrases, translator, visible

_EXPECTED, _FOUND, _ALSO = ": expected ", ": found ", ", found "
_LONGEST, _DEEPEST = 1000, 4
_MOST_KEPT = 2048
_BY_SERVER = re.compile(r" \(on ([^\s()]{1,300})\)$")
_QUOTED, _BACKTICKED = re.compile("`[^`]*`"), re.compile(r"`\{(\w+)\}`")
# A word of a language: names and commands have other characters, abbreviations are capitals.
_WORD = re.compile(r"(?<![\w./:@=<>-])(?=[A-Za-z]*[a-z])[A-Za-z]{2,}(?![\w/@=-]|[.:][\w/])")
_NAMES = frozenset({"lading", "numpy", "pip", "uv", "pickle", "dtype", "kB", "rtol", "atol"})
# What these hold may be a phrase again, or a list; others hold one token, and are somebody's data.
_LONG = frozenset({"text", "other", "listed", "limits", "last", "doing", "how", "signal"})
_NAMED = frozenset({"column", "source"})
_TOKEN, _ANY = r"[^\s;]{0,120}[^\s;,]", ".{1,600}"


def error(t: Translate, text: str) -> Markup | None:
    """Return the message of an error in the language of `t`, or None for what is none of lading's."""
    return None if len(text) > _LONGEST else _error(t.language, text, _DEEPEST)


def phrase(t: Translate, text: str) -> Markup | None:
    """Return a part of an error, such as its hint, in the language of `t`; None for one that is not known."""
    return None if len(text) > _LONGEST else _known(t.language, text, _DEEPEST)


def _is_error(text: str) -> bool:
    return _parts(text)[1:] != (None, None)


@lru_cache(_MOST_KEPT)
def _error(language: str, text: str, depth: int) -> Markup | None:
    where, expected, actual = _parts(text)
    if expected is None and actual is None:
        return None
    t, values = translator(language), [_said(language, each, depth - 1) for each in (where, expected, actual)]
    if expected is None:
        return t("{where}: found {found}", where=values[0], found=values[2])
    if actual is None:
        return t("{where}: expected {expected}", where=values[0], expected=values[1])
    if not where:
        return t("expected {expected}, found {found}", expected=values[1], found=values[2])
    return t(
        "{where}: expected {expected}, found {found}", where=values[0], expected=values[1], found=values[2]
    )


def _parts(text: str) -> tuple[str, str | None, str | None]:
    """Return where something is not as it must be, what was expected, and what was found."""
    where, rest = "", text.removeprefix(_EXPECTED[2:]) if text.startswith(_EXPECTED[2:]) else None
    if rest is None:
        where, rest = _divided(text, _EXPECTED)
    if rest is None:
        where, actual = _divided(text, _FOUND)
        return where, None, actual
    expected, actual = _divided(rest, _ALSO)
    return where, expected, actual


def _divided(text: str, mark: str) -> tuple[str, str | None]:
    """Return what is before and behind the first `mark` that is in no quotation, None for it without one."""
    at = text.find(mark)
    while at >= 0 and text.count("`", 0, at) % 2:
        at = text.find(mark, at + 1)
    return (text, None) if at < 0 else (text[:at], text[at + len(mark) :])


def _said(language: str, text: str | None, depth: int) -> Markup:
    """Return a part of an error in a language; what is not known of it is marked as English."""
    if not text:
        return Markup()
    known = _known(language, text, depth)
    if known is None:
        return Markup('<span lang="en">{}</span>').format(visible(text))
    return known


@lru_cache(_MOST_KEPT)
def _known(language: str, text: str, depth: int) -> Markup | None:
    if not _has_words(text):
        return Markup("{}").format(visible(text))
    if depth <= 0:
        return None
    # First, because a phrase would take an error for a part of itself.
    if (by_server := _BY_SERVER.search(text)) and _is_error(text):
        t, inside = translator(language), _said(language, text[: by_server.start()], depth)
        return t("{text} (on {replica})", text=inside, replica=by_server[1])
    as_error = _error(language, text, depth)
    if as_error is not None:
        return as_error
    for pattern, quoted, own in _patterns(language):
        if match := pattern.fullmatch(text):
            values = {
                name: visible(value) if name in quoted else _value(language, name, value, depth - 1)
                for name, value in match.groupdict().items()
            }
            return Markup(own).format(**values)  # noqa: S704 - a sentence of ours, its values are escaped
    return None


def _value(language: str, name: str, value: str, depth: int) -> Markup:
    if name in _LONG or not _has_words(value):
        return _said(language, value, depth)
    return Markup('<span translate="no">{}</span>').format(visible(value))


def _has_words(text: str) -> bool:
    return any(word not in _NAMES for word in _WORD.findall(_QUOTED.sub("`", text)))


@cache
def _patterns(language: str) -> list[tuple[re.Pattern[str], frozenset[str], str]]:
    # The more a phrase says itself, the earlier it is tried: "{text} of `{name}`" fits too much.
    known = sorted(phrases(language).items(), key=lambda item: (-_own_letters(item[0]), item[0]))
    return [
        (re.compile(_pattern(english), re.DOTALL), frozenset(_BACKTICKED.findall(english)), own)
        for english, own in known
    ]


def _own_letters(english: str) -> int:
    return len(re.sub(r"\{\w+\}", "", english))


def _pattern(english: str) -> str:
    pieces = re.split(r"(`?\{\w+\}`?)", english)
    return "".join(_piece(piece) for piece in pieces)


def _piece(piece: str) -> str:
    if "{" not in piece:
        return re.escape(piece)
    name = piece.strip("`{}")
    inside = _ANY if name in _LONG or name in _NAMED else _TOKEN
    if piece.startswith("`{") and piece.endswith("}`"):
        inside = "[^`]{1,300}"
    return piece.partition("{")[0] + f"(?P<{name}>{inside})" + piece.partition("}")[2]
