"""Checks of requests by the rules of their version: counted by the chunk, or looked at before they run.

`count` costs a request nothing of its own: it is a consumer of the recorder, which shows what has run. Only
models that warn or reject are looked at before they run. Shows a value to nobody but the caller who sent it.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lading.errors import CheckFailed
from lading.input_checks import Rule
from lading.input_checks.compiled import Checks
from lading.input_checks.modes import Mode, Modes
from lading.input_checks.stated_rules import ServerChecks, compilable, rules_of
from lading.server.inference.job import Job
from lading.server.inference.version import ServedVersion
from lading.server.observe.chunks import RowChunk
from lading.signature import Array, quoted

log = logging.getLogger("lading.server")

HEADER = b"x-lading-input-warnings"

_PLAN = "input checks"
_MOST_WARNINGS = 100
_SHOWN_WARNINGS = 5
_LONGEST_NAME = 40

AddCounts = Callable[[str, int, int, Iterable[tuple[Rule, int]]], None]
"""Counts rows of a model's version that were checked, and how many of them failed a rule."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is done with the requests of one version."""

    mode: Mode
    checks: Checks


class InputChecks:
    """The checks of one process. ``stated`` are those of the server itself; `add` counts.

    `paths` has, by protocol, where rows are in the caller's JSON.
    """

    def __init__(
        self,
        modes: Modes,
        stated: ServerChecks | None = None,
        add: AddCounts | None = None,
        paths: Mapping[str, str] | None = None,
    ) -> None:
        self._modes = modes
        self._stated = stated or ServerChecks()
        self._add = add
        self._paths = paths or {}
        self.counts = modes.has("count", "warn", "reject")
        self.looks = modes.has("warn", "reject")
        self.warns = modes.has("warn")

    def count(self, chunk: RowChunk) -> None:
        """Count the rows of a chunk that fail a rule; a consumer of `Recorder`."""
        self._count(chunk.served, chunk.inputs, chunk.rows)

    def look_up(self, exchange: Any) -> None:
        """Look at a request that is about to run: a step of the pipeline. Raises `CheckFailed`."""
        job: Job = exchange.job
        loaded = job.served.loaded
        plan: _Plan = (loaded.plans.get(_PLAN) if loaded is not None else None) or self._plan(job.served)
        if exchange.warnings:  # Of the version that was asked before.
            exchange.warnings = ()
        if plan.mode not in ("warn", "reject") or plan.checks.passes(job.inputs):
            return
        if plan.mode == "reject":
            self._count(job.served, job.inputs, job.rows)  # They never run.
            raise self._refusal(exchange, plan.checks)
        counts = plan.checks.counts(job.inputs)
        exchange.warnings = _warnings(plan.checks.rules[at] for at in np.flatnonzero(counts))

    def answer(self, exchange: Any) -> None:
        """Add the warnings to an answer: a step of the pipeline."""
        warnings = exchange.warnings
        if warnings:
            listed = ", ".join(warnings[:_SHOWN_WARNINGS])
            text = f"{len(warnings)}; {listed}{', ...' if len(warnings) > _SHOWN_WARNINGS else ''}"
            exchange.answer_headers = (*exchange.answer_headers, (HEADER, text.encode("ascii")))

    def rules(self, served: ServedVersion) -> tuple[Rule, ...]:
        """Return the rules in force for a version."""
        return self._plan(served).checks.rules

    def _count(self, served: ServedVersion, inputs: Mapping[str, Array], rows: int) -> None:
        plan = self._plan(served)
        if plan.mode == "off" or not plan.checks or self._add is None:
            return
        counts = plan.checks.counts(inputs)
        failed = [(plan.checks.rules[at], int(counts[at])) for at in np.flatnonzero(counts)]
        self._add(served.name, served.version, rows, failed)

    def _plan(self, served: ServedVersion) -> _Plan:
        plans = served.model.plans
        plan: _Plan | None = plans.get(_PLAN)
        if plan is None:
            plan = plans.setdefault(_PLAN, self._made(served))
        return plan

    def _made(self, served: ServedVersion) -> _Plan:
        mode, model = self._modes.of(served.name), served.model
        if mode == "off":
            return _Plan(mode, Checks((), model.signature))
        stated, misfits = self._stated.of(served.name, model.signature)
        checks, refused = compilable(model.bundle.manifest.checks)
        for misfit in (*misfits, *refused):
            log.warning("%s: a check is not in force: %s", served.label, misfit.message)
        rules = rules_of(model.signature, model.profile, checks, stated)
        return _Plan(mode, Checks(rules, model.signature))

    def _refusal(self, exchange: Any, checks: Checks) -> CheckFailed:
        """Return the error of the first failure, by row."""
        # A large request may fail in every row: each is counted, and none but the first is looked at.
        first, rows = checks.first(exchange.job.inputs)
        rule = first.rule
        root = self._paths.get(exchange.route.protocol) or rule.tensor
        return CheckFailed(
            f"check `{rule.kind}` of {quoted(rule.column)}",
            expected=rule.expected,
            found=_shown(first.value),
            path=f"{root}[{first.row}]{_within_row(rule)}",
            hint=f"{rows} rows fail a check" if rows > 1 else None,
        )


def _within_row(rule: Rule) -> str:
    """Return the place of a rule's value in a row: ``.petal_length``, ``[3]``, or nothing for all of it."""
    if rule.position < 0 and (rule.summary or rule.column == rule.tensor):
        return "" if rule.summary else f".{rule.column}"
    if rule.summary:
        return ""
    return f"[{rule.position}]" if rule.column == f"{rule.tensor}[{rule.position}]" else f".{rule.column}"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value) if value else "an empty text"
    number = value.item() if isinstance(value, np.generic) else value
    return f"`{number:.9g}`" if isinstance(number, float) else f"`{number}`"


def _warnings(rules: Iterable[Rule]) -> tuple[str, ...]:
    """Return column and kind of rules that fail, as printable ASCII."""
    return tuple(
        f"{_ascii(rule.column[:_LONGEST_NAME])} {rule.kind}"
        for rule in itertools.islice(rules, _MOST_WARNINGS)
    )


def _ascii(name: str) -> str:
    return "".join(char if " " <= char <= "~" and char not in ",;" else "?" for char in name)
