"""What a server knows of its trust policy, for people to see. Decides nothing; loading does."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class TrustFacts:
    """The policy's file and digest, and why it would not let in what is loaded, by model and version.

    Replaced as a whole where it changes, so that readers in other threads need no lock.
    """

    path: str
    digest: str
    objections: dict[tuple[str, int], str] = field(default_factory=dict)
