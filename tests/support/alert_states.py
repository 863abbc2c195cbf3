"""Findings, rules and states of alerts, short to write."""

from __future__ import annotations

from typing import Any

from lading.monitor.alerts import AlertRule, AlertState, Finding, Notification, next_states


def finding(kind: str = "drift", model: str = "iris", **changes: Any) -> Finding:
    fields = {"subject": "age", "version": 3, "release": 7, "began_at": 100.0, "value": 0.4}
    text = "`age` has drifted: 0.4 against 0.1"
    return Finding(kind=kind, model=model, **{"text": text, **fields, **changes})  # type: ignore[arg-type]


def rule(name: str = "drifts", when: str = "drift", **changes: Any) -> AlertRule:
    return AlertRule(name=name, when=(when,), route=changes.pop("route", "ops"), **changes)


def firing(**changes: Any) -> AlertState:
    """Return the state of an alert that fires, not delivered yet."""
    fields = {name: changes.pop(name) for name in ("severity", "route") if name in changes}
    states, _ = next_states([rule(**fields)], [finding(**changes)], {}, 1000.0)
    (state,) = states.values()
    return state


def notice(**changes: Any) -> Notification:
    return Notification(state=firing(**changes))
