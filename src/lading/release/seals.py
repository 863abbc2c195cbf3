"""Seals of events: HMACs by a key that the catalog does not hold, so that nobody else can write a history.

A seal covers its event, and by the hash in it all events before. An event's hash covers its seal in turn, so
that a chain with seals verifies without the key as any other does.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from lading.errors import InvalidSetting
from lading.release.events import Event

# Where an event's evidence holds its seal.
SEAL = "seal"
MIN_SECRET_BYTES = 32


@dataclass(frozen=True)
class Keyring:
    """Keys by id: the first, `current`, seals new events; the others are those of older ones."""

    current: str
    keys: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def parse(cls, text: str, where: str) -> Keyring:
        """Read a key file: a key on each line, its id and its secret, the current one first.

        Raises `InvalidSetting`, which shows no secret.
        """
        keys: dict[str, bytes] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            words = line.split()
            if len(words) != 2 or words[0] in keys or len(words[1].encode()) < MIN_SECRET_BYTES:
                raise InvalidSetting(
                    f"{where}, line {number}",
                    expected=f"`ID SECRET`, each id once, with at least {MIN_SECRET_BYTES} bytes of secret",
                    found="something else",
                    hint="`echo k1 $(openssl rand -hex 32)` makes a line",
                )
            keys[words[0]] = words[1].encode()
        if not keys:
            raise InvalidSetting(where, expected="at least one line `ID SECRET`", found="none")
        return cls(next(iter(keys)), keys)

    def seal(self, event: Event) -> Event:
        """Return an event with its seal; its hash is still to be computed."""
        mac = _mac(self.keys[self.current], event)
        sealed = {**event.evidence, SEAL: {"key": self.current, "mac": mac}}
        return msgspec.structs.replace(event, evidence=sealed)

    def fault(self, event: Event) -> str | None:
        """Return why the seal of an event does not hold, or None if it does; it has one."""
        key = self.keys.get(key_of(event) or "")
        if key is None:
            return f"is sealed by the key `{key_of(event)}`, which the key file does not have"
        if not hmac.compare_digest(_mac(key, event), str(event.evidence[SEAL].get("mac"))):
            return f"has a seal that is not of the key `{key_of(event)}`"
        return None


def key_of(event: Event) -> str | None:
    """Return the id of the key that has sealed an event, or None without a seal."""
    seal = event.evidence.get(SEAL)
    return str(seal.get("key")) if isinstance(seal, dict) else None


@dataclass(frozen=True)
class Coverage:
    """How many events of a model its seals cover, and in words what is wrong with the first of the others."""

    count: int
    fault: str | None


def coverage(events: Sequence[Event], keyring: Keyring) -> Coverage:
    """Return how far the seals of a model's events reach; the events are a whole chain (`verify_chain`).

    Events before the first seal are covered by it. Later ones without a seal are only where somebody who has
    the key has sealed them deliberately, by an event ``sealed``.
    """
    covered, gap = 0, None
    for number, event in enumerate(events, 1):
        if key_of(event) is None:
            gap = gap or event
            continue
        fault = keyring.fault(event)
        if fault is None and covered and gap is not None and event.kind != "sealed":
            event, fault = gap, "has no seal, although events before and after it have"  # noqa: PLW2901
        if fault is not None:
            return Coverage(covered, f"event {event.seq} {fault}")
        covered, gap = number, None
    return Coverage(covered, f"event {gap.seq} and all after it have no seal" if gap is not None else None)


def may_follow(events: Sequence[Event], keyring: Keyring) -> str | None:
    """Return why no event may be sealed after these, or None: a seal would cover what somebody else wrote."""
    reached = coverage(events, keyring)
    sealed_before = any(key_of(event) is not None for event in events)
    return reached.fault if sealed_before else None


def _mac(key: bytes, event: Event) -> str:
    fields: dict[str, Any] = msgspec.to_builtins(event)
    del fields["hash"]
    fields["evidence"] = {name: value for name, value in event.evidence.items() if name != SEAL}
    return hmac.new(key, msgspec.json.encode(fields, order="sorted"), hashlib.sha256).hexdigest()
