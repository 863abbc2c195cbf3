"""Which side of a release answers a request: pure policy over the release's words.

A version or tag in the route wins before this is asked; then header rules; then the caller's key, which
always lands on the same side; then a random draw, by exact weight. Loads and counts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lading.release import SAME_WITHIN, Mode, Release, Side, split

KEY_HEADER = b"x-lading-key"
"""Requests with the same value land on the same side of a release, on every replica and after a restart."""

Headers = Mapping[bytes, bytes]
"""Header names in lower case; gRPC metadata in the same form."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """How a release shares the requests for its model. Versions are numbers of the registry.

    ``relative_difference`` is how far numbers of both sides may be apart to count as the same answer.
    """

    name: str
    release: int
    mode: Mode
    live: int | None
    candidate: int | None
    weight_percent: float
    rules: tuple[tuple[bytes, bytes, Side], ...] = ()
    relative_difference: float = SAME_WITHIN
    salt: str = ""

    @classmethod
    def of(cls, release: Release) -> Traffic:
        """Take from `release` what decides which side answers."""
        rules = tuple(
            (rule.header.lower().encode(), rule.equals.encode(), rule.side) for rule in release.plan.rules
        )
        return cls(
            name=release.name,
            release=release.number,
            mode=release.plan.mode,
            live=release.live,
            candidate=release.candidate,
            weight_percent=release.weight_percent,
            rules=rules if release.candidate is not None else (),
            relative_difference=release.plan.gates.get("relative_difference", SAME_WITHIN),
            salt=release.plan.salt,
        )

    @property
    def splits(self) -> bool:
        """Whether some requests may go to the candidate."""
        return self.candidate is not None and (self.weight_percent > 0 or bool(self.rules))

    @property
    def shadows(self) -> bool:
        """Whether the candidate gets copies of what live answers."""
        return self.candidate is not None and self.mode == "shadow"

    @property
    def pairs(self) -> bool:
        """Whether both sides answer callers, and answer a few requests both, to be compared."""
        return self.candidate is not None and self.mode in ("canary", "ab")

    def side(self, headers: Headers, draw: Callable[[], float]) -> Side:
        """Choose the side of one request."""
        for header, value, side in self.rules:
            if headers.get(header) == value:
                return side
        return split(headers.get(KEY_HEADER), self.name, self.weight_percent, draw, self.salt)

    def tagged(self, tag: str) -> int | None:
        """Return the version that a tag of the release's own names, or None for any other tag."""
        if tag == "live":
            return self.live
        if tag == "candidate":
            return self.candidate
        return None
