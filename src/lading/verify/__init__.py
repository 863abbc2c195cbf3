"""Whether a bundle holds on this machine."""

from __future__ import annotations

from lading.verify.golden import replay, replay_alone

__all__ = ["replay", "replay_alone"]
