"""Periods on the command line: ``1h`` ago, or a time as ISO 8601 writes it."""

from __future__ import annotations

import re
import time
from typing import Any

import click

from lading.clock import unix_time

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


class MomentType(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.4
    """A Unix time: ``90s``, ``15m``, ``1h``, ``7d``, ``2w`` ago, or ``2026-11-29T14:00`` (UTC)."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the Unix time that is meant."""
        if isinstance(value, float):
            return value
        ago = _AGO.fullmatch(str(value))
        if ago is not None:
            return time.time() - float(ago[1]) * _UNITS_S[ago[2]]
        try:
            # Without a zone it is UTC, as everything that lading writes.
            return unix_time(value if re.search(r"(Z|[+-]\d\d:?\d\d)$", value) else f"{value}Z")
        except ValueError:
            self.fail(
                f"expected `1h`, `7d` or a time such as `2026-11-29T14:00`, found `{value}`", param, ctx
            )
