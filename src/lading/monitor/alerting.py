"""Alerts of a registry: what is wrong by its catalog, the states of alerts there, and their delivery.

Holds no lease: who drives the monitor calls `turn` after each of its own. What is to be sent, and when, is
decided by `alerts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from lading.clock import unix_time
from lading.monitor.alert_rules import AlertRules
from lading.monitor.alerts import AlertState, Finding, next_states, undelivered, with_delivered
from lading.monitor.sinks import Deliveries

if TYPE_CHECKING:
    from lading.registry import Registry


class Alerting:
    """Turns what is wrong in a registry into alerts, by the rules that are `stated`.

    ``more`` returns findings that the catalog does not know. Raises `InvalidSetting` if a route cannot be
    opened. Used by one thread.
    """

    def __init__(
        self,
        registry: Registry,
        stated: AlertRules,
        *,
        clock: Callable[[], float] | None = None,
        more: Callable[[], Iterable[Finding]] = tuple,
    ) -> None:
        self._registry = registry
        self._rules = stated.rules
        self._clock = clock or registry.fleet.now
        self._more = more
        self.deliveries = Deliveries(stated.routes.values(), clock=self._clock, hub=stated.hub)
        self._states: dict[str, AlertState] | None = None

    def turn(self, leading: bool = True) -> None:
        """Look once, store what has changed, and have it delivered; nothing unless this process leads.

        What is stored first is sent again by the next driver if this one is killed before it was delivered.
        """
        if not leading:
            # Another process may change them now: they are read again when this one leads.
            # Its driver sends what this one has not delivered.
            if self._states is not None:
                self.deliveries.forget()
            self._states = None
            return
        late = []
        if self._states is None:
            self._states = self._load()
            late = undelivered(self._states)
        before, now = self._states, self._clock()
        states = with_delivered(before, self.deliveries.take_delivered(), now)
        findings = [*catalog_findings(self._registry), *self._more()]
        states, notifications = next_states(self._rules, findings, states, now)
        self._save(before, states)
        self._states = states
        new = {notification.state.key for notification in notifications}
        self.deliveries.post(notification for notification in late if notification.state.key not in new)
        self.deliveries.post(notifications)
        self.deliveries.remind(states.values())

    def close(self) -> None:
        """Deliver what waits, within seconds, and store what was delivered."""
        self.deliveries.close()
        if self._states is not None:
            states = with_delivered(self._states, self.deliveries.take_delivered(), self._clock())
            self._save(self._states, states)
            self._states = states

    def _load(self) -> dict[str, AlertState]:
        bodies = self._registry.monitoring.states("alerts")
        return {key: msgspec.json.decode(body, type=AlertState) for key, body in bodies.items()}

    def _save(self, before: dict[str, AlertState], after: dict[str, AlertState]) -> None:
        changed = {
            key: msgspec.json.encode(state).decode()
            for key, state in after.items()
            if before.get(key) != state
        }
        self._registry.monitoring.save("alerts", changed, [key for key in before if key not in after])


def catalog_findings(registry: Registry) -> Iterator[Finding]:
    """Iterate over what is wrong now by the catalog: open alarms, and releases that were rolled back last."""
    for alarm in registry.monitoring.alarms(open_only=True):
        yield Finding.of(alarm)
    # A release that follows ends the finding: it is the current one then.
    for release in registry.releases.wanted():
        if release.state != "rolled_back":
            continue
        reason = f": {release.reason}" if release.reason else ""
        yield Finding(
            kind="release",
            model=release.name,
            began_at=unix_time(release.changed_at),
            text=f"release {release.number} of `{release.name}` was rolled back{reason}",
            version=release.live or 0,
            release=release.number,
        )
