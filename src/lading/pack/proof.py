"""The proof of one conversion: what was compared, and how well it agrees. Compares nothing itself."""

from __future__ import annotations

from dataclasses import dataclass

from lading.convert import Conversion, Plan
from lading.parity import Parity, Tolerance
from lading.signature import Array


@dataclass(frozen=True)
class Proof:
    """One conversion and how well it agrees.

    ``ties`` marks rows whose label fell the other way in a near tie. ``alone`` means that `parity` compares
    rows run one by one with the same rows among others. ``unseen`` is what rows beyond the probe rows show.
    ``undecided`` samples were left out: the conversion refuses them (`convert.undecided`).
    """

    plan: Plan
    conversion: Conversion
    tolerance: Tolerance
    parity: Parity
    ties: Array  # [rows]
    alone: bool = False
    unseen: str = "an unseen value"
    undecided: int = 0
