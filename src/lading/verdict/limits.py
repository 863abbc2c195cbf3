"""The live gates: the limits of a candidate, from the table ``[live]`` of a gates file. Tests nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from lading.errors import InvalidSetting
from lading.gates import limit_of, parse_toml, read_text, unknown_key
from lading.release import SAME_WITHIN

GATES = (
    "max_error_increase",
    "max_latency_p99_ratio",
    "max_latency_p50_ratio",
    "max_output_shift",
    "min_agreement",
    "min_value_agreement",
    "max_accuracy_drop",
)
"""The gates; ``alpha``, ``beta``, ``roll_back_agreement`` and ``relative_difference`` are not gates."""

NO_LIMIT = {
    "max_error_increase": 1.0,
    "max_latency_p99_ratio": 1000.0,
    "max_latency_p50_ratio": 1000.0,
    "max_output_shift": 1.0,
    "min_agreement": 0.0,
    "min_value_agreement": 0.0,
    "max_accuracy_drop": 1.0,
}
"""The limit of each gate that nothing can break; such a gate is not judged. ``false`` in TOML means it."""


_OTHER_KEYS = ("alpha", "beta", "roll_back_agreement", "relative_difference")


class LiveGates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much worse than live a candidate may be. Shares are from 0 to 1: 0.005 is half a percentage point.

    ``alpha`` bounds the chance, over the whole rollout, that a candidate within every gate is rolled back;
    ``beta`` the chance that one outside any gate is promoted. Below ``roll_back_agreement`` a candidate is
    harmful; above it and below ``min_agreement`` it is another model, and perhaps a good one: it is held.
    ``relative_difference`` is how far two numbers may be apart and be the same answer, as a part of the
    spread of live's golden values. ``min_value_agreement`` is judged only where it is stated.
    """

    max_error_increase: float = 0.005
    max_latency_p99_ratio: float = 1.5
    max_latency_p50_ratio: float = 1.5
    max_output_shift: float = 0.1
    min_agreement: float = 0.9
    roll_back_agreement: float = 0.5
    min_value_agreement: float = 0.0
    relative_difference: float = SAME_WITHIN
    max_accuracy_drop: float = 0.02
    alpha: float = 0.05
    beta: float = 0.05

    @classmethod
    def of(cls, limits: Mapping[str, Any], *, where: str = "gates") -> LiveGates:
        """Check `limits` by name; the others have their defaults. Raises `InvalidSetting`.

        A ``min_agreement`` that is stated is also where a candidate is rolled back, unless another is stated.
        """
        checked = _checked(limits, where)
        if "min_agreement" in checked:
            checked.setdefault("roll_back_agreement", checked["min_agreement"])
        return cls(**checked)

    def judged(self, gate: str) -> bool:
        """Whether `gate` limits anything."""
        limit, off = getattr(self, gate), NO_LIMIT[gate]
        return bool(limit > off if gate.startswith("min_") else limit < off)


def read_live(path: Path | str) -> dict[str, float]:
    """Read the limits that the table ``[live]`` of a gates file states: what `Plan.gates` holds.

    Only stated limits: defaults are filled in when a release is judged. A file without the table states none.
    Raises `InvalidSetting` naming the file and the key.
    """
    path = Path(path)
    return parse_live(read_text(path), where=path.name)


def parse_live(text: str, *, where: str = "gates") -> dict[str, float]:
    """Read the table ``[live]`` of TOML text."""
    table = parse_toml(text, where=where).get("live", {})
    if not isinstance(table, dict):
        raise InvalidSetting(f"`live` in `{where}`", expected="a table of gates", found=f"`{table}`")
    return _checked(table, where)


def _checked(limits: Mapping[str, Any], where: str) -> dict[str, float]:
    return {key: _value(where, key, value) for key, value in limits.items()}


def _value(where: str, key: str, value: Any) -> float:
    if key in NO_LIMIT and value is False:  # not 0, which equals False
        return NO_LIMIT[key]
    if key in ("alpha", "beta"):
        return limit_of(where, f"live.{key}", value, at_least=1e-6, at_most=0.5)
    if key == "relative_difference":
        return limit_of(where, f"live.{key}", value, at_least=0, at_most=1000)
    if key == "roll_back_agreement":
        return limit_of(where, f"live.{key}", value, at_least=0, at_most=1)
    if key.endswith("_ratio"):
        return limit_of(where, f"live.{key}", value, at_least=1, at_most=1000)
    if key in NO_LIMIT:
        return limit_of(where, f"live.{key}", value, at_least=0, at_most=1)
    raise unknown_key(where, key, [*GATES, *_OTHER_KEYS])
