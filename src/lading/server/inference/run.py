"""A run of a model for clients, as what looks at rows sees it. Runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lading.server.inference.version import ServedVersion
from lading.signature import Array


@dataclass(slots=True, eq=False)
class Run:
    """What ran as one: a version, the inputs ``[rows, ...]``, and the outputs, None if the run failed.

    Requests that were merged are one run, in one array: reading that costs less than reading each of them.
    """

    served: ServedVersion
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array] | None
    rows: int


ShowRun = Callable[[Run], None]
"""Sees a run for clients once, in the thread that ran it; returns at once and raises nothing."""
