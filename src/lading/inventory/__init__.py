"""The inventory: what runs, where, on what, and which models of which versions it answers for.

Each server of lading says so itself: `describe` collects it and `Beat` tells the catalog every few seconds.
Other people's servers are `adopt`-ed: asked over their public routes. Starts, stops and changes nothing.
"""

from __future__ import annotations

from lading.inventory.adopt import adopt
from lading.inventory.describe import describe, installed
from lading.inventory.heartbeat import BEAT_S, Beat

__all__ = ["BEAT_S", "Beat", "adopt", "describe", "installed"]
