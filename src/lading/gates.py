"""Gates: limits that numbers must meet, read from TOML. Measures nothing and knows no registry.

max_latency_p99_ms = 5
max_size_mb = 50
max_memory_mb = 200
min_metric.accuracy = 0.9
max_metric.rmse = 0.5
no_worse_than_live.accuracy = 0.01
max_vulnerability = "high"
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lading.errors import InvalidSetting, mid_sentence
from lading.evidence import Check

# By gate, the number of evidence that it limits.
_NUMBERS = {
    "max_latency_p99_ms": "latency_p99_ms",
    "max_size_mb": "size_mb",
    "max_memory_mb": "memory_mb",
}
_TABLES = ("min_metric", "max_metric", "no_worse_than_live")
VULNERABILITY = "max_vulnerability"
"""The gate of scans, which a release judges: a scan measures nothing of a bundle, and feeds change."""

SEVERITIES = ("none", "low", "medium", "high", "critical")

# The table of limits on live traffic, which `verdict` reads; one file may hold both.
_LIVE = "live"


class Gates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The limits of one file; None or empty means no limit.

    ``max_latency_p99_ms`` is that of one row. ``no_worse_than_live`` holds the allowed drop of a metric of
    which higher is better, ``max_vulnerability`` the worst severity that a release may have.
    """

    max_latency_p99_ms: float | None = None
    max_size_mb: float | None = None
    max_memory_mb: float | None = None
    min_metric: dict[str, float] = {}
    max_metric: dict[str, float] = {}
    no_worse_than_live: dict[str, float] = {}
    max_vulnerability: str | None = None

    @classmethod
    def read(cls, path: Path | str) -> Gates:
        """Read a TOML file; raises `InvalidSetting` naming the file and the key."""
        path = Path(path)
        return cls.parse(read_text(path), where=path.name)

    @classmethod
    def parse(cls, text: str, *, where: str = "gates") -> Gates:
        """Read TOML text; unknown keys and limits that are no numbers raise `InvalidSetting`."""
        fields: dict[str, Any] = {}
        for key, value in parse_toml(text, where=where).items():
            if key in _TABLES:
                fields[key] = _table(where, key, value)
            elif key in _NUMBERS:
                fields[key] = limit_of(where, key, value, at_least=0)
            elif key == VULNERABILITY:
                fields[key] = _severity(where, key, value)
            elif key != _LIVE:
                raise unknown_key(where, key, [*_NUMBERS, *_TABLES, VULNERABILITY, _LIVE])
        return cls(**fields)


def read_text(path: Path) -> str:
    """Read a gates file as text; raises `InvalidSetting` naming the file."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        reason = str(error.strerror).lower()
        raise InvalidSetting(f"gates `{path}`", expected="a TOML file", found=reason) from None
    except UnicodeDecodeError:
        raise InvalidSetting(f"gates `{path}`", expected="a TOML file", found="bytes not in UTF-8") from None


def parse_toml(text: str, *, where: str) -> dict[str, Any]:
    """Parse TOML; raises `InvalidSetting`."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        text = mid_sentence(str(error).replace("'", "`"))
        raise InvalidSetting(f"`{where}`", expected="TOML", found=f"another form: {text}") from None


def limit_of(
    where: str, key: str, value: Any, *, at_least: float | None = None, at_most: float | None = None
) -> float:
    """Return `value` as a number within its range; raises `InvalidSetting` naming the file and the key."""
    expected = "a number" if at_least is None else f"a number of at least {at_least:g}"
    if at_most is not None:
        expected += f" and at most {at_most:g}"
    # In Python a bool is an int; TOML distinguishes them, and also has nan and inf.
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    is_low = is_number and at_least is not None and value < at_least
    is_high = is_number and at_most is not None and value > at_most
    if not is_number or is_low or is_high:
        raise InvalidSetting(f"`{key}` in `{where}`", expected=expected, found=_describe(value))
    return float(value)


def unknown_key(where: str, key: str, known: Sequence[str]) -> InvalidSetting:
    """Return the error of a key that is not one of `known`."""
    near = difflib.get_close_matches(key.partition(".")[0], known, n=1)
    expected = "one of " + ", ".join(f"`{name}`" for name in known)
    hint = f"did you mean `{near[0]}`?" if near else None
    return InvalidSetting(f"`{where}`", expected=expected, found=f"`{key}`", hint=hint)


def judge(
    gates: Gates,
    numbers: Mapping[str, float],
    metrics: Mapping[str, float],
    live_metrics: Mapping[str, float] | None = None,
) -> tuple[Check, ...]:
    """Compare measured `numbers` and the bundle's `metrics` with every gate.

    `live_metrics` is None if no version is live. A missing number or metric fails its gate: what was not
    measured is not proved. ``max_vulnerability`` is not among them: a release judges the last scan by it.
    """
    checks = []
    for gate, number in _NUMBERS.items():
        limit = getattr(gates, gate)
        if limit is not None:
            checks.append(_at_most(gate, limit, numbers.get(number), f"`{number}` was not measured"))
    for name, limit in gates.min_metric.items():
        checks.append(_at_least(f"min_metric.{name}", limit, metrics.get(name), _not_stated(name, metrics)))
    for name, limit in gates.max_metric.items():
        checks.append(_at_most(f"max_metric.{name}", limit, metrics.get(name), _not_stated(name, metrics)))
    for name, drop in gates.no_worse_than_live.items():
        checks.append(_against_live(name, drop, metrics, live_metrics))
    return tuple(checks)


def _at_most(gate: str, limit: float, value: float | None, missing: str) -> Check:
    # Written so that NaN fails: every comparison with it is false.
    holds = value is not None and value <= limit
    return _check(gate, holds, f"at most {limit:g}", missing if value is None else f"{value:g}")


def _at_least(gate: str, limit: float, value: float | None, missing: str) -> Check:
    holds = value is not None and value >= limit
    return _check(gate, holds, f"at least {limit:g}", missing if value is None else f"{value:g}")


def _against_live(
    name: str, drop: float, metrics: Mapping[str, float], live: Mapping[str, float] | None
) -> Check:
    gate = f"no_worse_than_live.{name}"
    # The first version of a model, or of a metric, has nothing to be worse than.
    if live is None:
        # The first version of a model has nothing to be worse than.
        return Check(gate, "noted", found="no live version to compare with")
    if name not in live:
        return Check(gate, "noted", found=f"the live version states no metric `{name}`")
    least = live[name] - drop
    value = metrics.get(name)
    # In binary, 0.93 - 0.02 is slightly more than 0.91: the last digits must not decide.
    holds = value is not None and (value >= least or math.isclose(value, least, rel_tol=1e-9))
    expected = f"at least {least:g} (live has {live[name]:g})"
    return _check(gate, holds, expected, _not_stated(name, metrics) if value is None else f"{value:g}")


def _check(gate: str, holds: bool, expected: str, value: str) -> Check:
    hint = (
        "" if holds or not value.startswith("no metric") else "state it when packing: `--metric NAME=NUMBER`"
    )
    return Check(gate, "passed" if holds else "failed", expected=expected, found=value, hint=hint)


def _not_stated(name: str, metrics: Mapping[str, float]) -> str:
    stated = ", ".join(f"`{metric}`" for metric in metrics) or "none"
    return f"no metric `{name}` in the bundle, which states {stated}"


def _severity(where: str, key: str, value: Any) -> str:
    if isinstance(value, str) and value in SEVERITIES:
        return value
    expected = "one of " + ", ".join(f"`{name}`" for name in SEVERITIES)
    raise InvalidSetting(f"`{key}` in `{where}`", expected=expected, found=_describe(value))


def _table(where: str, key: str, value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or not value:
        expected = f"metrics with their limits, as `{key}.accuracy = 0.01`"
        raise InvalidSetting(f"`{key}` in `{where}`", expected=expected, found=_describe(value))
    least = 0 if key == "no_worse_than_live" else None
    return {name: limit_of(where, f"{key}.{name}", limit, at_least=least) for name, limit in value.items()}


def _describe(value: Any) -> str:
    if isinstance(value, dict):
        return "an empty table" if not value else "a table"
    return "`true`" if value is True else "`false`" if value is False else f"`{value}`"
