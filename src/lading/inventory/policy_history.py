"""Writes into the history of each model under which trust policy a server runs, and when that changes.

Runs in a thread beside the server. An event that is in the history already is not repeated: of many servers
with one policy, the first writes it.
"""

from __future__ import annotations

import logging
import secrets
import threading
from typing import TYPE_CHECKING

from lading.errors import LadingError, RegistryReadOnly
from lading.registry import Registry
from lading.release import EventDraft

if TYPE_CHECKING:
    from lading.release import Release
    from lading.server.loading.trust import LoadGate, PolicyChange
    from lading.server.process.status import Status

log = logging.getLogger("lading.inventory")

TURN_S = 2.0
_LEASE, _LEASE_S = "policy-history", 15.0
_MOST_EVENTS = 200
"""How many of the last events are searched for the one that names the policy already."""


def record_policies(registry_url: str, status: Status, stop: threading.Event) -> None:
    """Write the changes of a server's policy until `stop` is set; nothing for a server without one."""
    gate = status.gate
    if gate is None:
        return
    failure = ""
    with Registry.open(registry_url, at_once=False) as registry:
        while not stop.is_set():
            if status.is_leader and gate.changes:
                try:
                    _write_alone(registry, status, gate)
                except RegistryReadOnly:
                    return
                except LadingError as error:
                    # A catalog that is unreachable is tried again; the changes wait.
                    if error.message != failure:
                        failure = error.message
                        log.warning("the trust policy is not in the history yet: %s", error.message)
            stop.wait(TURN_S)


def _write_alone(registry: Registry, status: Status, gate: LoadGate) -> None:
    """Write the changes while no other process does: two that looked together would both write."""
    # Not the server's id alone, which its workers share.
    holder = f"{status.replica}-{secrets.token_hex(4)}"
    if not registry.fleet.lease(_LEASE, holder, _LEASE_S):
        return
    try:
        _write_changes(registry, status, gate)
    finally:
        registry.fleet.release_lease(_LEASE, holder)


def _write_changes(registry: Registry, status: Status, gate: LoadGate) -> None:
    while gate.changes:
        change = gate.changes[0]
        releases = registry.releases.wanted()
        # Of models that are served by reference, those that this server has.
        served = {model.name for model in status.models()}
        for release in releases:
            if release.name in served or not served:
                _note(registry, release, change, status)
        if served or not releases:
            gate.changes.popleft()
            continue
        return  # Nothing is loaded yet: then it is not known which histories it concerns.


def _note(registry: Registry, release: Release, change: PolicyChange, status: Status) -> None:
    events = registry.releases.last_events(release.name, _MOST_EVENTS)
    last = next((event for event in events if event.kind == "policy"), None)
    if last is not None and last.to == change.after:
        return
    before = change.before or (last.to if last is not None else "")
    assert status.gate is not None
    draft = EventDraft(
        kind="policy",
        actor=status.replica,
        reason="the trust policy of a server",
        from_=before,
        to=change.after,
        evidence={"file": status.gate.facts.path},
    )
    registry.releases.note(release, draft)
