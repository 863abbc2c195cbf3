"""How the reasons of a verdict weigh, for those who colour or mark them. Judges nothing."""

from __future__ import annotations

from typing import Literal

Weight = Literal["harm", "pending", "unknown", "fine"]
"""Certain harm, evidence that is still missing, nothing known, and no sign of harm."""


def weight_of(reason: str) -> Weight:
    """Return how a reason of a verdict weighs."""
    # By its words, which are those of this package: a reason has no field that says which kind it is. Harm
    # that only one group of callers shows is harm as well: a person has to look at it.
    if "harm is certain" in reason or reason.startswith("no traffic"):
        return "harm"
    if "not enough yet" in reason:
        return "pending"
    return "unknown" if "no evidence" in reason or "not proved" in reason else "fine"
