"""Which components are past the end of their life, by endoflife.date. Knows no vulnerability."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from lading.trust.components import GENERIC, Component
from lading.trust.feeds import Cycle

# Products of endoflife.date whose names are not those of their packages.
_PRODUCTS = {"torch": "pytorch", "rhel": "rhel", "amzn": "amazon-linux", "alpine": "alpine-linux"}
EXPECTED = frozenset({"onnxruntime", "numpy", "scikit-learn", "torch", "tensorflow", "xgboost", "lightgbm"})
"""Packages whose end of life people ask about, said to be unchecked where no feed has them.

endoflife.date has no entry of ONNX Runtime and of most frameworks: their makers state no end.
"""


class EndOfLife(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A component's cycle and when it ends; `ended` is None if the feed states neither date nor answer."""

    product: str
    cycle: str
    component: str  # with its version
    ends: str = ""
    ended: bool | None = None
    extended: str = ""

    @property
    def sentence(self) -> str:
        """What to say of it: `numpy 1.26.4: cycle 1.26 ended on 2025-09-17`."""
        when = f" on {self.ends}" if self.ends else ""
        longer = f", with extended support until {self.extended}" if self.extended else ""
        verb = "ended" if self.ended else "ends" if self.ends else "has no stated end"
        return f"{self.component}: cycle {self.cycle} {verb}{when}{longer}"


def ends_of_life(
    components: Sequence[Component], cycles: Mapping[str, tuple[Cycle, ...]], today: datetime.date
) -> tuple[tuple[EndOfLife, ...], set[str]]:
    """Return the ends of components that a feed has, and those that people ask about without an answer."""
    ends, unknown = [], set()
    for component in components:
        product = product_of(component)
        cycle = cycle_of(component.version, cycles.get(product, ()))
        if cycle is not None:
            ends.append(_end(component, cycle, today))
        elif component.name in EXPECTED or component.ecosystem == GENERIC:
            unknown.add(component.title)
    # What has ended comes first, then the nearest end; `9` sorts after every year.
    return tuple(sorted(ends, key=lambda end: (not end.ended, end.ends or "9", end.component))), unknown


def product_of(component: Component) -> str:
    """Return the name that endoflife.date would have for a component."""
    return _PRODUCTS.get(component.name, component.name)


def cycle_of(version: str, cycles: Iterable[Cycle]) -> Cycle | None:
    """Return the cycle that a version belongs to: the longest whose name it begins with, part by part."""
    # By parts and not by letters: 3.1 is no beginning of 3.11.
    parts = version.partition("+")[0].split(".")
    fitting = [cycle for cycle in cycles if parts[: len(each := cycle.name.split("."))] == each]
    return max(fitting, key=lambda cycle: len(cycle.name), default=None)


def _end(component: Component, cycle: Cycle, today: datetime.date) -> EndOfLife:
    ended = cycle.ended
    if cycle.ends:
        try:
            # A feed that is some days old may still say `false` on the day itself, so the date decides.
            ended = datetime.date.fromisoformat(cycle.ends) <= today
        except ValueError:
            ended = cycle.ended
    return EndOfLife(
        product=cycle.product,
        cycle=cycle.name,
        component=component.title,
        ends=cycle.ends,
        ended=ended,
        extended=cycle.extended,
    )
