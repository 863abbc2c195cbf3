"""Arguments of `pack`, checked one by one. Reads no file."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from lading.errors import InvalidSetting
from lading.parity import Tolerance


def require(holds: bool, where: str, expected: str, actual: str) -> None:
    """Raise `InvalidSetting` unless `holds`."""
    if not holds:
        raise InvalidSetting(where, expected=expected, found=actual)


def read_tolerance(tolerance: Tolerance | float | None) -> Tolerance | None:
    """Return a tolerance as such; a number is both the relative and the absolute one."""
    if tolerance is None or isinstance(tolerance, Tolerance):
        return tolerance
    valid = math.isfinite(tolerance) and tolerance >= 0
    require(valid, "`tolerance`", "a number, 0 or more", f"`{tolerance}`")
    return Tolerance(rtol=float(tolerance), atol=float(tolerance))


def read_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return metrics as plain floats by name."""
    for name, value in metrics.items():
        valid = isinstance(value, int | float | np.number) and math.isfinite(value)
        require(valid, f"metric `{name}`", "a finite number", f"`{value}`")
    return {str(name): float(value) for name, value in metrics.items()}
