"""Arguments of `pack`, checked one by one. Reads no file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lading.convert.onnx_inputs import BatchAxis, parse_batch_axis
from lading.convert.torch_sizes import OpenAxes, parse_open_axes
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


def read_axes(
    batch_axis: Mapping[str, int | None] | str | Sequence[str],
    open_axes: Mapping[str, int | Sequence[int] | Mapping[int, str]] | str | Sequence[str],
) -> tuple[BatchAxis, OpenAxes]:
    """Return the axis of rows, and the open axes, by input."""
    return read_batch_axis(batch_axis), read_open_axes(open_axes)


def read_batch_axis(axes: Mapping[str, int | None] | str | Sequence[str]) -> BatchAxis:
    """Return the axis of rows by input, from a mapping or from texts as on the command line."""
    if not isinstance(axes, Mapping):
        return parse_batch_axis([axes] if isinstance(axes, str) else axes)
    for name, axis in axes.items():
        valid = axis is None or (type(axis) is int and axis >= 0)
        require(valid, f"`batch_axis` of `{name}`", "the index of an axis, or None", f"`{axis}`")
    return dict(axes)


def read_open_axes(
    axes: Mapping[str, int | Sequence[int] | Mapping[int, str]] | str | Sequence[str],
) -> OpenAxes:
    """Return the open axes by input with the names of their sizes, from a mapping or from texts."""
    if not isinstance(axes, Mapping):
        return parse_open_axes([axes] if isinstance(axes, str) else axes)
    opened: dict[str, dict[int, str]] = {}
    for name, own in axes.items():
        listed = [own] if isinstance(own, int) else list(own)
        valid = all(type(axis) is int and axis >= 0 for axis in listed)
        require(valid, f"`open_axes` of `{name}`", "an axis, a list of axes, or names by axis", f"`{own}`")
        opened[name] = dict(own) if isinstance(own, Mapping) else dict.fromkeys(listed, "")
    return opened
