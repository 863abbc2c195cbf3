"""Every sentence of the pages exists in every language, with the same values."""

from __future__ import annotations

import json
import re
import string
from pathlib import Path

import pytest

from lading import units
from lading.hub import drawing, evidence_chart
from lading.hub.sentences import OF_COLUMN, TEMPLATES
from lading.hub.views import act
from lading.hub.words import LANGUAGES, language_of, translator
from lading.monitor.report import figures

HUB = Path(drawing.__file__).parent
OTHERS = [language for language in LANGUAGES if language != "en"]


def sentences() -> set[str]:
    """Return what pages may say: the literals of templates, and the words for kinds and ages."""
    kinds = (drawing.MODES, drawing.KINDS, drawing.STATES, drawing.EXECUTES)
    others = (
        drawing.VERDICTS,
        drawing.WEIGHTS,
        drawing.STANDINGS,
        drawing.PATTERNS,
        drawing.SOURCES,
        drawing.ALARM_KINDS,
        drawing.RUN_KINDS,
        drawing.RUN_STATES,
        drawing.SEVERITIES,
        drawing.JOB_STATES,
        drawing.HOOK_STATES,
        drawing.SERVED_STATES,
        drawing.SIDES,
    )
    acts = (act.BUTTONS, act.PROBLEMS, evidence_chart.GATES)
    texts = {text for each in (*kinds, *others, *acts) for text in each.values()}
    texts |= set(TEMPLATES)
    texts |= {drawing.age(seconds)[1] for seconds in (0, 600, 36_000, 864_000)}
    texts |= {*units.DURATIONS, *figures.MONTHS}
    for template in (*(HUB / "templates").glob("*.html"), HUB / "phrases.py"):
        texts |= set(re.findall(r'\bt\(\s*"((?:[^"\\]|\\.)*)"', template.read_text()))
    for chart in Path(figures.__file__).parent.glob("*.py"):
        texts |= set(re.findall(r'\bsay\(\s*"((?:[^"\\]|\\.)*)"', chart.read_text()))
    return texts


@pytest.mark.parametrize("language", OTHERS)
def test_no_sentence_is_missing_and_none_is_left_over(language):
    translated = json.loads((HUB / "languages" / f"{language}.json").read_text())
    assert sentences() - set(translated) == set()
    assert set(translated) - sentences() == set()
    assert list(translated) == sorted(translated)


@pytest.mark.parametrize("language", OTHERS)
def test_a_sentence_has_its_values_in_every_language(language):
    translated = json.loads((HUB / "languages" / f"{language}.json").read_text())

    def values(text: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(text)} - {None}

    assert [key for key, text in translated.items() if values(key) != values(text)] == []
    # What stayed English was forgotten.
    assert [key for key, text in translated.items() if not re.search("[가-힣]", text)] == [OF_COLUMN]


def test_no_text_of_a_template_is_outside_of_a_sentence():
    hidden = re.compile(r"\{[%{#].*?[%}#]\}|<code>.*?</code>|<[^>]+>", re.DOTALL)
    for template in (HUB / "templates").glob("*.html"):
        text = hidden.sub(" ", template.read_text()).replace("lading", "")
        assert re.findall(r"[A-Za-z]{2,}", text) == [], template.name


def test_values_of_a_sentence_are_escaped_and_the_sentence_is_not():
    say = translator("en")
    assert say("Replica {replica} is silent", replica="<i>\u202e") == "Replica &lt;i&gt;\\u202e is silent"


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        ("", "", "en"),
        ("ko", "en", "ko"),
        ("", "fr;q=1, ko-KR", "ko"),
        ("xx", "KO", "ko"),
        ("", "x" * 9000, "en"),
    ],
)
def test_the_language_is_the_chosen_one_else_the_first_that_is_known(chosen, accepted, language):
    assert language_of(chosen, accepted) == language
