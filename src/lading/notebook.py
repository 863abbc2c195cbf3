"""How an object of lading shows itself in a notebook: by the templates of the hub, if they are installed.

Draws nothing itself, and costs nothing until a notebook asks.
"""

from __future__ import annotations

import importlib

# What the templates need, from the extra `hub`. Anything else that is missing is a defect.
_LIBRARIES = ("jinja2", "markupsafe")


def fragment(kind: str, value: object) -> str | None:
    """Return `value`, an object of `kind`, as HTML for a notebook; None without the extra ``hub``.

    For None a notebook shows ``repr(value)`` instead.
    """
    try:
        # By its name: the hub is far above everything that shows itself.
        drawn: str = importlib.import_module("lading.hub.notebook").fragment(kind, value)
    except ModuleNotFoundError as error:
        if error.name not in _LIBRARIES:
            raise
        return None
    return drawn
