"""How an object of lading shows itself in a notebook: by the templates of the hub, if they are installed.

Draws nothing itself, and costs nothing until a notebook asks.
"""

from __future__ import annotations

import importlib

# What the templates need, from the extra `hub`. Anything else that is missing is a defect.
_LIBRARIES = ("jinja2", "markupsafe")


_LONGEST_LINE = 500


def line(text: str) -> str:
    """Return `text` as one line for ``__repr__``: printable, and cut off where it is long."""
    if len(text) > _LONGEST_LINE:
        text = f"{text[:_LONGEST_LINE]}…"
    # The names in it may be anybody's, and a terminal obeys escapes.
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


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
