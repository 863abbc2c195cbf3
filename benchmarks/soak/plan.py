"""When which kinds of hostile traffic are active: calm, each kind alone, all together, in cycles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CALM_SHARE = 0.3
"""Of the time of a kind, how much is calm after it: what the machine's neighbours do is then in both."""

SETTLING_S = 1.5
"""What the first moments after a hostile slot show belongs to neither side."""

TOGETHER = "all together"
_FIRST_CALM_SHARE = 0.08
_TOGETHER_SLOTS = 6


@dataclass(frozen=True)
class Slot:
    """A stretch of time in seconds from the beginning, and the kinds that are active in it; none is calm."""

    start_s: float
    end_s: float
    kinds: tuple[str, ...]

    @property
    def name(self) -> str:
        """The kind, or what several are called."""
        return self.kinds[0] if len(self.kinds) == 1 else TOGETHER if self.kinds else "calm"


def plan(kinds: Sequence[str], seconds: float, cycles: int) -> list[Slot]:
    """Return slots that fill `seconds`: calm first, then `cycles` of each kind in turn and all together."""
    first_s = seconds * _FIRST_CALM_SHARE
    turns = [*((kind,) for kind in kinds), *([tuple(kinds)] * _TOGETHER_SLOTS if len(kinds) > 1 else [])]
    turn_s = (seconds - first_s) / cycles / len(turns)
    slots, at_s = [Slot(0, first_s, ())], first_s
    for _ in range(cycles):
        for turn in turns:
            calm_s = at_s + turn_s * (1 - CALM_SHARE)
            slots += [Slot(at_s, calm_s, turn), Slot(calm_s, at_s + turn_s, ())]
            at_s += turn_s
    return slots


def slot_at(slots: Sequence[Slot], at_s: float) -> Slot | None:
    """Return the slot of a request that was due at `at_s`; None while the server settles or is not asked."""
    for at, slot in enumerate(slots):
        if slot.start_s <= at_s < slot.end_s:
            settles = not slot.kinds and at > 0 and at_s < slot.start_s + SETTLING_S
            return None if settles else slot
    return None
