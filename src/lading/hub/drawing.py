"""Templates to pages: everything that a template writes is escaped, and nothing invisible stays invisible."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lading import units
from lading.clock import iso_time, unix_time
from lading.hub import charts, evidence_chart
from lading.hub.prediction_log import MOST_DOWNLOADED
from lading.hub.sentences import say, say_reason
from lading.hub.views.act import BUTTONS, LONGEST_REASON, PROBLEMS
from lading.hub.views.begin import MODES_OF_FORM, USUAL_HOLD, USUAL_STEPS
from lading.hub.views.inventory import MODELS_SHOWN
from lading.hub.views.vulnerabilities import SERVERS_NAMED
from lading.hub.words import LANGUAGES, Translate, translator, visible, whole
from lading.profile.described import share_text
from lading.registry.catalog.releases import SEARCHED_EVENTS
from lading.replica import GONE_AFTER_S

MODES = {"live": "live at once", "shadow": "shadow", "canary": "canary", "ab": "A/B test"}
"""How a release goes live, in words; keys of the translations, as those below."""
KINDS = {
    "released": "released",
    "step": "next step",
    "paused": "paused",
    "resumed": "resumed",
    "promoted": "promoted",
    "rolled_back": "rolled back",
    "refused": "refused",
    "superseded": "superseded",
    "ready": "ready on a server",
    "failed": "failed to load",
    "sealed": "history sealed",
    "policy": "trust policy of a server",
}
"""What happened, by the kind of an event."""
STATES = {
    "running": "under way",
    "paused": "paused",
    "live": "live",
    "rolled_back": "rolled back",
    "superseded": "superseded",
    "refused": "refused",
}
"""How a release stands."""
VERDICTS = {
    "": "Nothing is judged yet.",
    "promote": "Good enough for the next step.",
    "hold": "Not enough evidence yet.",
    "roll_back": "To be rolled back.",
}
"""What the evidence says of a candidate so far."""
WEIGHTS = {"harm": "harm", "pending": "not enough yet", "unknown": "not known", "fine": "no harm"}
"""How a reason of the verdict weighs."""
STANDINGS = {"running": "running", "stopped": "stopped", "gone": "gone", "foreign": "foreign"}
"""Whether a replica runs; the words of `lading inventory`."""
PATTERNS = {"load": "loads from the registry", "in-image": "in its image", "foreign": "foreign"}
"""How the models of a replica came there."""
EXECUTES = {"no": "no", "code": "yes, code", "pickle": "yes, a pickle", "unknown": "unknown"}
"""What loading a bundle runs of its own."""

ALARM_KINDS = {
    "drift": "drift",
    "missing": "missing values",
    "column": "column",
    "decay": "accuracy",
    "accuracy": "accuracy",
    "estimated": "estimated accuracy",
    "estimated accuracy": "estimated accuracy",
    "input-checks": "input checks",
    "slice": "slice",
    "release": "release rolled back",
    "log-dropped": "log records lost",
    "vulnerability": "known vulnerability",
}
"""What alarms, by the kind of an alarm or of a finding."""
SEVERITIES = {
    "critical": "critical",
    "high": "high",
    "medium": "medium",
    "low": "low",
    "none": "harmless",
    "unknown": "not rated",
}
"""How bad a vulnerability is."""
SOURCES = {"reference": "reference data", "samples": "golden samples", "log": "logged requests"}
"""What a profile was measured on."""
RUN_KINDS = {"batch": "batch run", "training": "training run"}
"""What a run over a data set is."""
SERVED_STATES = {
    "loading": "loading",
    "warming": "warming up",
    "ready": "ready",
    "draining": "draining",
    "unloaded": "unloaded",
    "failed": "failed",
}
"""How a version stands on a server of lading's; one of another kind has words of its own."""
SIDES = {"live": "live", "candidate": "candidate", "shadow": "shadow"}
"""Which side of a release has answered."""
RUN_STATES = {"running": "running", "finished": "finished", "failed": "failed", "lost": "lost"}
"""How a run stands."""
JOB_STATES = {
    "waiting": "waiting",
    "running": "running",
    "done": "done",
    "failed": "failed",
    "cancelled": "cancelled",
}
"""How a job stands."""
HOOK_STATES = {"waiting": "waiting", "due": "due", "delivered": "delivered", "given_up": "given up"}
"""How far the webhook of a job got."""
COLUMNS_NAMED = 200
"""So many columns of an input are named on a page, and so many inputs; ``/api`` has all of them."""

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


_NO_ASSETS: Mapping[str, str] = {}
AGES = ("{number} s ago", "{number} min ago", "{number} h ago", "{number} days ago")
"""How long ago something was, from seconds to days; the script of pages writes them as well."""


class Drawing:
    """The templates of one hub; ``where`` is the name of its registry."""

    def __init__(
        self,
        where: str,
        clock: Callable[[], float] = time.time,
        assets: Mapping[str, str] = _NO_ASSETS,
    ) -> None:
        """`assets` has the addresses of the files that pages load, by name."""
        self._clock = clock
        self._environment = Environment(
            loader=PackageLoader("lading.hub"),
            autoescape=True,
            finalize=visible,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(
            where=where, languages=LANGUAGES, modes=MODES, kinds=KINDS, executes=EXECUTES
        )
        self._environment.globals.update(
            states=STATES, verdicts=VERDICTS, weights=WEIGHTS, percent=units.percent, latency=units.latency
        )
        self._environment.globals.update(
            standings=STANDINGS, patterns=PATTERNS, stale_after_s=int(GONE_AFTER_S)
        )
        self._environment.globals.update(models_shown=MODELS_SHOWN, searched_events=f"{SEARCHED_EVENTS:,}")
        self._environment.globals.update(columns_named=COLUMNS_NAMED, thousands="{:,}".format)
        self._environment.globals.update(sources=SOURCES, share_text=share_text)
        self._environment.globals.update(alarm_kinds=ALARM_KINDS, translated=_translated)
        self._environment.globals.update(size=units.size, short=_short, share=units.weight, quoted=quoted)
        self._environment.globals.update(severities=SEVERITIES, servers_named=SERVERS_NAMED)
        self._environment.globals.update(evidence=evidence_chart, gates=evidence_chart.GATES)
        self._environment.globals.update(charts=charts, assets=assets, ages=AGES, live="")
        self._environment.globals.update(run_kinds=RUN_KINDS, run_states=RUN_STATES, duration=units.duration)
        self._environment.globals.update(job_states=JOB_STATES, hook_states=HOOK_STATES)
        self._environment.globals.update(shell_quoted=shlex.quote, say=say, say_reason=say_reason)
        self._environment.globals.update(served_states=SERVED_STATES, sides=SIDES, data=_data, code=_code)
        self._environment.globals.update(
            charts=charts, most_downloaded=MOST_DOWNLOADED, iso=iso_time, whole=whole
        )
        # What forms offer and say: pages only display it, and `acting` does it.
        self._environment.globals.update(buttons=BUTTONS, problems=PROBLEMS, longest_reason=LONGEST_REASON)
        self._environment.globals.update(
            modes_of_form=MODES_OF_FORM, usual_steps=USUAL_STEPS, usual_hold=USUAL_HOLD
        )
        # Of a page that is drawn for nobody in particular.
        self._environment.globals.update(person="", token="", signs_in=False)

    def draw(self, template: str, language: str, **values: Any) -> str:
        """Return a page in a language; `values` may have an ``ago`` that writes times otherwise."""
        translate = translator(language)

        def ago(then: float | str) -> Markup:
            """Return how long ago a time was, with the time itself where the pointer rests."""
            at = unix_time(then) if isinstance(then, str) else then
            number, sentence = age(max(0.0, self._clock() - at))
            text = translate(sentence, number=number)
            # The class says that it ages: the script of the page goes on counting.
            return Markup('<time class="ago" datetime="{at}" title="{at}">{text}</time>').format(
                at=iso_time(at), text=text
            )

        page = self._environment.get_template(template)
        return page.render({"t": translate, "ago": ago, "language": language, **values})


def age(seconds: float) -> tuple[int, str]:
    """Return a number and its sentence, a key of the translations."""
    if seconds < _MINUTE_S:
        return int(seconds), AGES[0]
    if seconds < 2 * _HOUR_S:
        return int(seconds / _MINUTE_S), AGES[1]
    if seconds < 2 * _DAY_S:
        return int(seconds / _HOUR_S), AGES[2]
    return int(seconds / _DAY_S), AGES[3]


def _data(text: str) -> Markup:
    """Return a text of a person or a program for the middle of a sentence: translators leave it as it is."""
    return Markup('<span translate="no">{}</span>').format(visible(text))


def _code(text: str) -> Markup:
    """Return what people type for the middle of a sentence."""
    return Markup("<code>{}</code>").format(visible(text))


def _translated(t: Translate, words: Mapping[str, str]) -> dict[str, Markup]:
    """Return words in the language of `t`."""
    return {name: t(word) for name, word in words.items()}


def quoted(name: str) -> str:
    """Return a name as a part of an address: those of foreign servers and their models may have anything."""
    return quote(name, safe="")


def _short(digest: str) -> str:
    """Return the beginning of a digest without the name of its algorithm, as tables have room for."""
    return units.short_digest(digest).removeprefix("sha256:")
