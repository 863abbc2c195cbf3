"""Sentences that lading has written down or raised, in the language of a page: known by their wording.

Verdicts, alarms, reasons and errors are English texts in the catalog, in logs and on terminals, and stay so:
what is translated is what a page shows of them. A sentence that is not known here stays English, and a page
in another language says that of it. Knows no language: the templates are keys of the translations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from markupsafe import Markup

from lading.hub.phrases import error, phrase
from lading.hub.words import Translate, visible

_SIDES = "candidate {candidate} of {count}, live {live} of {of_live}"
_BEFORE = f"{_SIDES} before this step"
_COPIES = ("copies", "requests that both answered")

VERDICT = (
    *(
        f"{noun}: {sides} (limit {limit})"
        for noun, limit in (
            ("errors", "{limit} points"),
            ("accuracy", "{limit} points"),
            ("latency p99", "× {limit}"),
            ("latency p50", "× {limit}"),
        )
        for sides in (_BEFORE, _SIDES)
    ),
    "outputs: distance {distance} of {count} from {of_live} (limit {limit})",
    *(
        f"agreement: {{share}} of {{count}} {noun} (limit {{limit}}, harmful below {{harmful}})"
        for noun in _COPIES
    ),
    *(f"agreement: {{share}} of {{count}} {noun} (limit {{limit}})" for noun in _COPIES),
    *(f"agreement in every number: {{share}} of {{count}} {noun} (limit {{limit}})" for noun in _COPIES),
    "harm is certain beyond {percent} (e-value {e_value} ≥ {threshold})",
    "one caller, or a few, made these requests",
    "not enough yet: harm is certain, but not without one group of callers",
    "a person decides",
    "not enough yet: {percent} of the evidence that the limit is kept, about {count} more to go",
    "not enough yet: {percent} of the evidence that the limit is kept",
    "not enough yet: no evidence",
    "`{gate}` under `{table}` leaves this check out",
    "not enough yet: harm is likely (e-value {e_value}, certain from {threshold} on)",
    "within the limit, certain beyond {percent}",
    "no evidence",
    "no sign of harm",
    "no sign of harm, but not proved",
    "not enough yet: {age} s of the {hold} s that the step is held",
    "not enough yet: {count} of {least} copies to the candidate",
    "not enough yet: {count} of {least} requests to the candidate",
    "not enough yet: live gets no requests at 100 %, and no step came before in which both did",
    "promote by hand, or begin with a smaller share",
    "no traffic: no request to the candidate for {quiet} s, at most {most} s are waited",
)
"""The reasons of verdicts, in the parts that semicolons divide (`lading.verdict`)."""

REASONS = (
    "no harm seen in {requests} requests",
    "release {number} took its place",
    "loaded and proved on {replica}",
    "by hand",
)
"""Reasons of events that lading itself gives."""

ALARMS = (
    "higher by at least {size} standard deviations",
    "lower by at least {size} standard deviations",
    "higher by {size} standard deviations",
    "lower by {size} standard deviations",
    "wider: standard deviation {ratio} times as large",
    "narrower: standard deviation {ratio} times as large",
    "missing values: {before} -> {now}",
    "values that the reference does not have: {before} -> {now}",
    "category `{category}`: {before} -> {now}",
    "values {range}: {before} -> {now}",
    "`{rule}`: {percent} of the rows fail this input check",
    "accuracy over labelled rows: {before} -> {now}",
    "accuracy where `{slice}`: {before} -> {now}",
    "{value} (95 % interval {interval})",
    "{value} on the reference",
)
"""What changed in live traffic, by the monitor (`lading.monitor.wording`)."""

_RELEASE = "release {number} of `{name}`"
REFUSALS = (
    f"{_RELEASE}: expected change {{change}} of it to be the last, found {{found}}",
    "release {number} of `{name}`: expected it to be the last, found {found}",
    "release {number} of `{name}`: expected it to have made live what is live, found {found}",
    "release {number} of `{name}`: expected a candidate on its way, found state `{state}`",
    "release {number} of `{name}`: expected state `{wanted}`, found state `{state}`",
    f"promotion of {_RELEASE} from {{percent}}: expected its next step, {{step}}, found `{{goal}}`",
    "releases of `{name}`: expected at least one, found none",
    "releases of `{name}`: expected none yet, found {found}",
    "release of `{ref}`: expected another one than the current release, found the same",
    "rollback of `{name}`: expected a last release that went live, found {found}",
    "rollback of `{name}`: expected a version that was live before, found none",
    "`{ref}`: expected evidence that it holds on some runtime, found none",
    "model `{name}`: expected a model of registry `{where}`, found no such model",
    "model `{name}`: expected version `{version}`, found version {found}",
    "model `{name}`: expected version `{version}`, found versions {found}",
    "run `{id}`: expected a run of the registry, found none",
    "a form: expected the token of your session, found another one",
    "this hub: expected a key to change something, found none",
    "the registry: expected an answer, found {found}",
    "the catalog: expected an answer, found none in {seconds} s",
    "change {change}",
    "no release",
    "release {number}, change {change}, by `{actor}`",
    "release {number}, `{version}` live, by `{actor}`",
    "`{version}`, live by release {number}, by `{actor}`",
    "release {number}, state `{state}`: `{version}` has stayed live",
    "release {number}, `{version}` on its way, by `{actor}`",
    "look at it again: `{command}`",
    "`{command}` shows where it stands",
    "`{command}` undoes it",
    "`{command}` makes it",
    "`{command}` releases version 1",
)
"""What the hub refuses, and the hints beside it."""

OF_COLUMN = "`{column}` {change}"
JOBS = (
    "its server drained",
    "the server that ran it ended without an answer",
    "it was begun {count} times, and each time the server that ran it ended without an answer",
    "status {number}",
)

TEMPLATES = (*VERDICT, *REASONS, *ALARMS, *REFUSALS, *JOBS, "unknown", OF_COLUMN)
"""All sentences, the more special first: the last fits whatever begins with a name."""

_LONGEST = 1000
_HINT = "\nhint: "
_BY_SERVER = re.compile(r"(: |^)(expected|found) .* \(on [^\s()]{1,300}\)$", re.DOTALL)
# Tokens without blanks, or up to a quote: hostile text is looked through once, and not in every division.
_VALUE = r"[^\s;]{0,79}[^\s;,](?: (?:%|ms))?"
_SENTENCES = frozenset({"change", "found"})
_WORDS, _QUOTED = re.compile("[A-Za-z]{2}"), re.compile("`[^`]*`")
_PATTERNS = {"change": ".{1,400}", "found": ".{1,400}", "range": "[^:]{1,80}", "step": r"[^,]{1,20}"}


class Known(NamedTuple):
    """A sentence: its template and the values in it."""

    template: str
    values: Mapping[str, str]


def known(text: str) -> Known | None:
    """Return the template and the values of a sentence of lading's, or None for any other text."""
    if len(text) > _LONGEST:
        return None
    for template, pattern in _patterns():
        if match := pattern.fullmatch(text):
            return Known(template, match.groupdict())
    return None


def translated(t: Translate, text: str) -> str | None:
    """Return a text in the language of `t`, or None if a part of it is not known."""
    parts = []
    for part in text.split("; "):
        sentence = known(part)
        if sentence is None:
            return None
        values = dict(sentence.values)
        for name, value in values.items():
            # What these hold may be a sentence again, and half a sentence in another language is none.
            if name in _SENTENCES or value == "unknown":
                own = translated(t, value)
                if own is None and _WORDS.search(_QUOTED.sub("", value)):
                    return None
                values[name] = own or value
        parts.append(t.plain(sentence.template, **values))
    return "; ".join(parts)


def say(t: Translate, text: str) -> Markup:
    """Return a text of lading's as a page says it; one that is not known is marked as English.

    The hint of an error is set apart.
    """
    message, _, hint = text.partition(_HINT)
    own = _said(t, message)
    return own + Markup('<span class="under">{}</span>').format(_said(t, hint)) if hint else own


def say_reason(t: Translate, text: str) -> Markup:
    """Return a reason that lading or a person gave: a person's stays as it is, in whatever language."""
    own = None if t.language == "en" else translated(t, text)
    if own is not None or not text:
        return Markup("{}").format(visible(own or text))
    # A server that refuses a version gives the error, and its own name behind it.
    if t.language != "en" and _BY_SERVER.search(text) and (known := phrase(t, text)) is not None:
        return known
    return Markup('<span translate="no">{}</span>').format(visible(text))


def _said(t: Translate, text: str) -> Markup:
    if t.language == "en" or not text:
        return Markup("{}").format(visible(text))
    own = translated(t, text)
    if own is not None:
        return Markup("{}").format(visible(own))
    known = error(t, text) or phrase(t, text)
    return known if known is not None else Markup('<span lang="en">{}</span>').format(visible(text))


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    return [(template, re.compile(_pattern(template), re.DOTALL)) for template in TEMPLATES]


def _pattern(template: str) -> str:
    pieces = re.split(r"(`?\{\w+\}`?)", template)
    return "".join(_piece(piece) for piece in pieces)


def _piece(piece: str) -> str:
    """Return the pattern of a piece of a template: of its own words, or of one value."""
    # Between backticks a value is any text without one; names of columns have blanks.
    if "{" not in piece:
        return re.escape(piece)
    name = piece.strip("`{}")
    inside = "[^`]{1,300}" if piece.startswith("`{") and piece.endswith("}`") else _PATTERNS.get(name, _VALUE)
    return piece.partition("{")[0] + f"(?P<{name}>{inside})" + piece.partition("}")[2]
