"""How the differences of two bundles are shown. Compares nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lading.cli.ui import printing

if TYPE_CHECKING:
    from lading.bundle.difference import Difference
    from lading.evidence import Evidence

_MOST_IN_LINE = 4
_HEADER_END = "callers"
# The numbers of evidence that people compare, with what they are called here.
_NUMBERS = (
    ("latency_p50_ms", "latency p50 of one row", "ms"),
    ("latency_p99_ms", "latency p99 of one row", "ms"),
    ("memory_mb", "memory", "MB"),
)


def difference_line(old: str, new: str, differences: Sequence[Difference]) -> str:
    """Return differences in one line, those that callers may notice first."""
    first = "; ".join(map(str, differences[:_MOST_IN_LINE]))
    more = len(differences) - _MOST_IN_LINE
    end = f"; {more} more, see `lading diff {old} {new}`" if more > 0 else ""
    return f"differs from `{old}`: {first}{end}"


def difference_table(
    old: str, new: str, differences: Sequence[Difference], rows: Sequence[tuple[str, str, str]]
) -> None:
    """Print differences side by side, then `rows` of what the registry knows of both."""
    lines = [
        (difference.where, difference.old, difference.new, "may notice" if difference.breaks else "")
        for difference in differences
    ]
    printing.table(("", old, new, _HEADER_END), [*lines, *((*row, "") for row in rows)])


def summary(old: str, new: str, differences: Sequence[Difference]) -> str:
    """Return in one sentence what the differences mean for callers."""
    breaking = sum(difference.breaks for difference in differences)
    if breaking:
        noun = printing.plural(breaking, "difference")
        return f"callers of `{old}` may notice {noun} in `{new}`; `lading release` asks for `--force`"
    if differences:
        return f"callers of `{old}` find the same inputs, outputs and labels in `{new}`"
    return f"`{old}` and `{new}` state the same"


def evidence_rows(old: Sequence[Evidence], new: Sequence[Evidence]) -> list[tuple[str, str, str]]:
    """Return rows with the evidence of both: where it holds, and the numbers of the newest that does."""
    rows = [("evidence", _holds(old), _holds(new))]
    first, second = _comparable(_holding(old), _holding(new))
    if first is not None or second is not None:
        rows.append(("measured on", _runtime(first), _runtime(second)))
    for key, name, unit in _NUMBERS:
        texts = [_number(entry, key, unit) for entry in (first, second)]
        if any(texts):
            rows.append((name, texts[0] or "unknown", texts[1] or "unknown"))
    return rows


def _comparable(old: Sequence[Evidence], new: Sequence[Evidence]) -> tuple[Evidence | None, Evidence | None]:
    """Return the newest evidence of both on one runtime, else the newest of each."""
    shared = {entry.fingerprint for entry in old} & {entry.fingerprint for entry in new}
    first, second = (
        max(
            (entry for entry in entries if not shared or entry.fingerprint in shared),
            key=lambda entry: entry.measured_at,
            default=None,
        )
        for entries in (old, new)
    )
    if shared and first is not None and second is not None and first.fingerprint != second.fingerprint:
        second = next(entry for entry in new if entry.fingerprint == first.fingerprint)
    return first, second


def _runtime(entry: Evidence | None) -> str:
    return "nowhere" if entry is None else f"runtime {entry.fingerprint.id}"


def _holding(entries: Sequence[Evidence]) -> list[Evidence]:
    return [entry for entry in entries if entry.holds]


def _holds(entries: Sequence[Evidence]) -> str:
    if not entries:
        return "none"
    held = len(_holding(entries))
    failed = len(entries) - held
    text = f"holds on {printing.plural(held, 'runtime')}"
    return f"{text}, fails on {failed}" if failed else text


def _number(entry: Evidence | None, key: str, unit: str) -> str:
    value = entry.numbers.get(key) if entry is not None else None
    return "" if value is None else f"{value:.3g} {unit}"
