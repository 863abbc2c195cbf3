"""The server: loads bundles, proves them, answers, drains. Never imports packing or training."""

from __future__ import annotations

from lading.server.life import serve

__all__ = ["serve"]
