"""The languages of the pages: each sentence of a template is its own key, and `languages/` has the others.

What errors are made of has a file of its own there: `phrases` puts it together.

A sentence without a translation is an error of ours, which a test finds; a page then shows it in English.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from markupsafe import Markup

from lading.monitor.report.markup import escaped

LANGUAGES: Mapping[str, str] = {"en": "English", "ko": "한국어"}

LONGEST = 2_000
"""So many characters of a text are on a page; ``/api`` has all of it."""


class Translate:
    """What templates call as a function: a sentence in, with its ``{values}``, and markup out."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._sentences = _sentences(language)

    def __call__(self, sentence: str, **values: Any) -> Markup:
        """Return a sentence of ours in this language as markup."""
        # The sentence is one of ours; its values are anybody's.
        text = Markup(self._sentences.get(sentence, sentence))  # noqa: S704
        return text.format(**{name: visible(value) for name, value in values.items()})

    def plain(self, sentence: str, /, **values: str) -> str:
        """Return a sentence of ours in this language as text, with its values as they are."""
        return self._sentences.get(sentence, sentence).format(**values)


translator = cache(Translate)
"""Returns what translates into a language."""


def visible(value: Any) -> Any:
    """Return a value as pages write it: text escaped, with unprintable characters as escape sequences.

    A mark that turns the direction of writing could make a page say something other than its source. A long
    text is cut off, with how much more it has: a page of fifty must stay one that a browser can show.
    """
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    if len(value) > LONGEST:
        value = f"{value[:LONGEST]}… [+{len(value) - LONGEST:,}]"
    return Markup(escaped(value))  # noqa: S704 - escaped


def whole(text: str) -> Markup:
    """Return a text as `visible`, however long it is: half a command would be another command."""
    return Markup(escaped(text))  # noqa: S704 - escaped


def language_of(chosen: str, accepted: str) -> str:
    """Return the language that a person has `chosen`, else the first of ``Accept-Language`` that is known."""
    if chosen in LANGUAGES:
        return chosen
    # Browsers list languages by preference; the weights say no more than the order does.
    for part in accepted[:500].split(","):
        language = part.partition(";")[0].strip().lower().partition("-")[0]
        if language in LANGUAGES:
            return language
    return "en"


@cache
def phrases(language: str) -> Mapping[str, str]:
    """Return the parts of errors in a language, by what they are in English."""
    return _read(f"{language}-errors.json")


@cache
def _sentences(language: str) -> Mapping[str, str]:
    return {} if language == "en" else _read(f"{language}.json")


def _read(name: str) -> Mapping[str, str]:
    text = files("lading.hub").joinpath("languages", name).read_text("utf-8")
    return msgspec.json.decode(text, type=dict[str, str])
