"""The inventory: which servers run, where and on what, and which versions of which models they serve.

A lading server reports itself: `describe` collects what is known about it and `Heartbeat` sends that to the
catalog every few seconds. Servers of other kinds are `adopt`-ed: asked over their public routes. Starts,
stops and changes nothing.
"""

from __future__ import annotations

from lading.inventory.adopt import adopt
from lading.inventory.describe import describe, installed_packages
from lading.inventory.heartbeat import HEARTBEAT_S, Heartbeat

__all__ = ["HEARTBEAT_S", "Heartbeat", "adopt", "describe", "installed_packages"]
