"""Alerts: findings that rules send to people, from the first look to the last. Sends nothing (`sinks`).

    finding ─▶ pending ──for──▶ firing ──finding gone──▶ resolved
                  └─finding gone─▶ (forgotten)

`next_states` is a pure function of rules, findings, stored states and the time. A state keeps that its
notification is not delivered yet, so that a driver that is killed is followed by one that sends it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal, get_args

import msgspec

from lading.alarms import Alarm, AlarmKind

FindingKind = Literal[AlarmKind, "log-dropped", "release", "vulnerability"]
"""What an alert can be about: a monitor's alarms, lost log records, a release rolled back, a known fault."""

Severity = Literal["page", "warn", "info"]
Status = Literal["pending", "firing", "resolved"]

KINDS: tuple[str, ...] = ("drift", "decay", "slice", "input-checks", "release", "vulnerability")
"""What is raised: a rule about another kind would never fire, and is refused."""

ONCE: tuple[str, ...] = ("vulnerability",)
"""What people are notified of once: it lasts until somebody installs another version, which takes days."""

SEVERITIES: tuple[str, ...] = get_args(Severity)
EVERYTHING = "*"
DEFAULT_SEVERITY: Severity = "warn"

_KEPT_S = 86_400.0
"""How long a resolved alert stays, for people to see."""


class AlertRule(msgspec.Struct, frozen=True, kw_only=True):
    """Which findings make alerts, how long they have to last, and where the alerts go.

    ``when`` lists kinds, ``model`` is a name or a pattern with `*`. Without ``severity`` the finding says it.
    """

    name: str
    when: tuple[str, ...]
    route: str
    model: str = EVERYTHING
    for_s: float = 0.0
    repeat_s: float = 4 * 3600.0
    severity: Severity | None = None

    def matches(self, finding: Finding) -> bool:
        """Return whether the rule is about a finding."""
        is_kind = EVERYTHING in self.when or finding.kind in self.when
        return is_kind and fnmatchcase(finding.model, self.model)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong now: ``subject`` is a column or slice, empty for the whole model.

    ``began_at`` is Unix time; ``text`` is one sentence for people.
    """

    kind: FindingKind
    model: str
    began_at: float
    text: str
    subject: str = ""
    version: int = 0
    release: int = 0
    value: float = 0.0
    severity: Severity = DEFAULT_SEVERITY

    @classmethod
    def of(cls, alarm: Alarm) -> Finding:
        """Return the finding of an open alarm of the monitor."""
        return cls(
            kind=alarm.kind,
            model=alarm.name,
            began_at=alarm.began_at,
            text=alarm.text,
            subject=alarm.subject,
            version=alarm.version,
            release=alarm.release,
            value=alarm.value,
        )


class AlertState(msgspec.Struct, frozen=True, kw_only=True):
    """One rule's view of one finding; times are Unix times, 0 for never.

    ``version`` and ``release`` are those that it began with. ``since`` is when it was first seen, ``sent_at``
    when people were last notified. ``is_sent`` is whether the present status has been delivered.
    """

    rule: str
    route: str
    kind: FindingKind
    model: str
    subject: str
    version: int
    release: int
    severity: Severity
    status: Status
    began_at: float
    since: float
    value: float
    text: str
    fired_at: float = 0.0
    resolved_at: float = 0.0
    sent_at: float = 0.0
    is_sent: bool = True

    @property
    def key(self) -> str:
        """What identifies the alert among all: the key under which its state is stored."""
        return _key(self.rule, self.kind, self.model, self.subject)

    @property
    def is_firing(self) -> bool:
        """Return whether people are to know that it lasts."""
        return self.status == "firing"


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that people are to be notified of: it fires, still does (``is_repeated``), or is resolved."""

    state: AlertState
    is_repeated: bool = False


def next_states(
    rules: Sequence[AlertRule],
    findings: Iterable[Finding],
    states: Mapping[str, AlertState],
    now: float,
) -> tuple[dict[str, AlertState], list[Notification]]:
    """Return all states after a look at `now`, by key, and the notifications that this look makes.

    A state of `states` that is not returned is over. To be called again and again; a second call with
    the same arguments and the states of the first makes no notification.
    """
    seen = _seen(rules, findings)
    by_name = {rule.name: rule for rule in rules}
    after: dict[str, AlertState] = {}
    notifications: list[Notification] = []
    for key, (rule, finding) in seen.items():
        before = states.get(key)
        # What comes back is another alert: it has to last again, and people are notified again.
        if before is None or before.status == "resolved":
            before = _pending(rule, finding, now)
        after[key] = state = _while_it_lasts(before, rule, finding, now)
        if state.is_firing and not before.is_firing:
            notifications.append(Notification(state=state))
        # What is not delivered yet waits already: a repetition would only be one more of it.
        elif state.is_firing and state.is_sent and _is_due(state, rule, now):
            after[key] = state = msgspec.structs.replace(state, is_sent=False)
            notifications.append(Notification(state=state, is_repeated=True))
    for key, before in states.items():
        if key in after:
            continue
        gone = _once_it_is_over(before, by_name.get(before.rule), now)
        if gone is not None:
            after[key] = gone
            if before.is_firing:
                notifications.append(Notification(state=gone))
    return after, notifications


def undelivered(states: Mapping[str, AlertState]) -> list[Notification]:
    """Return the notifications that an earlier driver did not deliver; to be sent when one begins."""
    # A pending state is never unsent: nobody is notified of it.
    late = (state for state in states.values() if not state.is_sent)
    return [Notification(state=state, is_repeated=state.is_firing and state.sent_at > 0) for state in late]


def with_delivered(
    states: Mapping[str, AlertState], delivered: Iterable[Notification], now: float
) -> dict[str, AlertState]:
    """Return the states with what has been delivered since; what has changed meanwhile stays undelivered."""
    after = dict(states)
    for notification in delivered:
        key, status = notification.state.key, notification.state.status
        state = after.get(key)
        if state is not None and state.status == status and state.fired_at == notification.state.fired_at:
            after[key] = msgspec.structs.replace(state, is_sent=True, sent_at=now)
    return after


def _seen(rules: Sequence[AlertRule], findings: Iterable[Finding]) -> dict[str, tuple[AlertRule, Finding]]:
    """Return which rule sees which finding, by the key of the alert; of several the first that began."""
    seen: dict[str, tuple[AlertRule, Finding]] = {}
    for finding in findings:
        for rule in rules:
            if not rule.matches(finding):
                continue
            key = _key(rule.name, finding.kind, finding.model, finding.subject)
            # Two versions may have drifted in the same column: people care about one alert, not two.
            if key not in seen or finding.began_at < seen[key][1].began_at:
                seen[key] = (rule, finding)
    return seen


def _pending(rule: AlertRule, finding: Finding, now: float) -> AlertState:
    return AlertState(
        rule=rule.name,
        route=rule.route,
        kind=finding.kind,
        model=finding.model,
        subject=finding.subject,
        version=finding.version,
        release=finding.release,
        severity=rule.severity or finding.severity,
        status="pending",
        began_at=finding.began_at,
        since=now,
        value=finding.value,
        text=finding.text,
    )


def _while_it_lasts(state: AlertState, rule: AlertRule, finding: Finding, now: float) -> AlertState:
    # What it is about stays as it began: receivers recognise an alert by that. What it says may change.
    state = msgspec.structs.replace(state, value=finding.value, text=finding.text, route=rule.route)
    # As seen from here: a finding that began long ago, and is new to this rule, has to last as well.
    if state.status == "pending" and now - state.since >= rule.for_s:
        return msgspec.structs.replace(state, status="firing", fired_at=now, is_sent=False)
    return state


def _once_it_is_over(state: AlertState, rule: AlertRule | None, now: float) -> AlertState | None:
    """Return the state of an alert whose finding, or whose rule, is gone; None if nothing is left of it."""
    if state.is_firing:
        route = rule.route if rule is not None else state.route
        return msgspec.structs.replace(state, status="resolved", resolved_at=now, is_sent=False, route=route)
    if state.status == "resolved" and (not state.is_sent or now - state.resolved_at < _KEPT_S):
        return state
    return None  # It was pending, and nobody knows of it; or it is old.


def _is_due(state: AlertState, rule: AlertRule, now: float) -> bool:
    return state.kind not in ONCE and now - state.sent_at >= rule.repeat_s


def _key(rule: str, kind: str, model: str, subject: str) -> str:
    return msgspec.json.encode([rule, kind, model, subject]).decode()
