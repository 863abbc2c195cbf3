"""How a release looks to people: rows, sides and the verdict so far in words. Reads no registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lading.cli.ui import printing

if TYPE_CHECKING:
    from lading.release import Release
    from lading.rollout.snapshot import SideStats, Snapshot

NOTHING = "–"
HARM, MISSING, FINE = "✗", "…", "✓"
_MOST_OUTPUTS = 5
_HEADER = ("release", "state", "live", "candidate", "share", "step", "by", "since", "reason")


def release_row(release: Release) -> dict[str, Any]:
    """Return a release as JSON says it."""
    import msgspec

    return {"release": msgspec.structs.asdict(release)}


def release_table(releases: Sequence[Release]) -> None:
    """Write one row for each release."""
    printing.table(_HEADER, [_row(one) for one in releases])


def headline(snapshot: Snapshot) -> str:
    """Say in one line where a release stands."""
    one = snapshot.release
    title = f"{one.name}, release {one.number}"
    if not one.is_open:
        return f"{title} is {_state(one)}: {_mode(one)}, by {one.actor}"
    held = f"for {duration(snapshot.step_age_s)}"
    if one.plan.mode == "canary":
        held += f" (at least {duration(one.plan.hold_s)})"
    return f"{title}: {_mode(one)} by {one.actor}, {_state(one)}, {_step(one)} {held}"


def notes(snapshot: Snapshot) -> list[str]:
    """Say what a newcomer has to know: who moves this, and what is theirs to do."""
    one = snapshot.release
    if not one.is_open:
        return []
    said = []
    if snapshot.driver is not None:
        said.append(f"judged by {snapshot.driver}")
    if one.state == "paused":
        said.append(f"paused: nothing moves until `lading rollout resume {one.name}`")
    if snapshot.driver is None:
        said.append("nothing judges it now: start `lading serve` or `lading rollout run`")
    if one.plan.mode in ("shadow", "ab"):
        said.append(
            f"it stays as it is until `lading rollout promote {one.name}` or `lading rollback {one.name}`"
        )
    return said


def sides(snapshot: Snapshot) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the header and the rows of both sides, as they are since the step began."""
    halves = [one for one in (snapshot.live, snapshot.candidate) if one is not None]
    name = snapshot.release.name
    words = ("live", "candidate")
    header = ("", *(f"{word} {name}:{one.version}" for word, one in zip(words, halves, strict=False)))
    shadow = snapshot.release.plan.mode == "shadow"
    rows = [
        ("share of requests", *(f"{one.share_percent:g} %" for one in halves)),
        ("requests" if not shadow else "requests, copies", *(f"{one.requests:,}" for one in halves)),
        ("per second", *(f"{one.requests_per_s:,.1f}" for one in halves)),
        ("errors", *(percent(one.error_share) for one in halves)),
        ("latency p50", *(latency(one.latency_p50_s) for one in halves)),
        ("latency p99", *(latency(one.latency_p99_s) for one in halves)),
    ]
    if any(one.accuracy is not None for one in halves):
        rows.append(("accuracy by feedback", *(_rated(one) for one in halves)))
    if shadow:
        rows.append(("agreement of copies", NOTHING, _agreement(snapshot)))
    rows += _outputs(halves)
    return header, rows


def verdict_words(snapshot: Snapshot) -> tuple[str, tuple[str, ...]]:
    """Return the verdict so far as a word, and its reasons."""
    one = snapshot.verdict
    if one is None:
        return "", ()
    by_hand = snapshot.release.plan.mode in ("shadow", "ab")
    words = {"promote": "good enough to promote" if by_hand else "promote", "roll_back": "roll back"}
    return words.get(one.action, one.action), one.reasons


def mark(reason: str) -> str:
    """Return the sign of a reason: harm, evidence that is still missing, or no harm."""
    if "harm is certain" in reason or reason.startswith("no traffic"):
        return HARM
    return MISSING if "not enough yet" in reason else FINE


def change_line(snapshot: Snapshot) -> str:
    """Say a change in one line, for logs."""
    one = snapshot.release
    word, reasons = verdict_words(snapshot)
    counts = ", ".join(
        f"{side} {half.requests:,} requests, {percent(half.error_share)} failed"
        for side, half in (("live", snapshot.live), ("candidate", snapshot.candidate))
        if half is not None and half.requests and one.is_open
    )
    said = [f"{one.name} release {one.number}", _state(one), _step(one) if one.is_open else "", counts]
    if word:
        said.append(f"{word}: {reasons[0]}" if reasons else word)
    elif one.reason:
        said.append(one.reason)
    return "; ".join(part for part in said if part)


def ending(release: Release) -> str:
    """Say how a release ended."""
    how = "" if release.state == "live" else f"{_state(release)}, "
    reason = f": {release.reason}" if release.reason else ""
    live = f"`{release.name}:{release.live}` is live"
    return f"release {release.number} of `{release.name}` ended: {how}{live}{reason}"


def standing(release: Release) -> str:
    """Say where a release that goes on stands."""
    return f"release {release.number} of `{release.name}` is {_state(release)}: {_step(release)}"


def duration(seconds: float) -> str:
    """Write a time as people read it: ``12 s``, ``4 min``, ``1 h 5 min``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def latency(seconds: float | None) -> str:
    """Write a latency to three digits, in milliseconds or, from 1 s on, in seconds."""
    if seconds is None:
        return NOTHING
    amount, unit = (seconds, "s") if seconds >= 0.9995 else (seconds * 1000, "ms")
    return f"{amount:#.3g}".removesuffix(".") + f" {unit}"


def percent(share: float | None) -> str:
    """Write a share as percent, to two digits."""
    return NOTHING if share is None else f"{100 * share:.2f} %"


def _row(one: Release) -> tuple[str, ...]:
    return (
        f"{one.name} {one.number}",
        _state(one),
        f"{one.name}:{one.live}" if one.live is not None else NOTHING,
        f"{one.name}:{one.candidate}" if one.candidate is not None else NOTHING,
        f"{one.weight_percent:g} %" if one.is_open else NOTHING,
        _place(one) if one.is_open else NOTHING,
        one.actor,
        one.changed_at[:19].replace("T", " "),
        one.reason,
    )


def _state(one: Release) -> str:
    return one.state.replace("_", " ")


def _mode(one: Release) -> str:
    return {"live": "straight to live", "ab": "A/B"}.get(one.plan.mode, one.plan.mode)


def _place(one: Release) -> str:
    return f"{one.step + 1} of {len(one.plan.steps)}"


def _step(one: Release) -> str:
    if one.plan.mode == "shadow":
        return f"copies to {one.name}:{one.candidate}"
    share = f"{one.weight_percent:g} % to {one.name}:{one.candidate}"
    return f"step {_place(one)}, {share}" if len(one.plan.steps) > 1 else share


def _rated(one: SideStats) -> str:
    rated = one.feedback.right + one.feedback.wrong
    return f"{percent(one.accuracy)} of {rated:,}" if rated else NOTHING


def _agreement(snapshot: Snapshot) -> str:
    counts = snapshot.shadow
    tried = counts.agreed + counts.differed + counts.failed
    said = f"{percent(counts.agreed / tried)} of {tried:,}" if tried else NOTHING
    return f"{said}, {counts.dropped:,} not sent" if counts.dropped else said


def _outputs(halves: Sequence[SideStats]) -> list[tuple[str, ...]]:
    totals: dict[str, int] = {}
    for one in halves:
        for name, count in one.outputs.items():
            totals[name] = totals.get(name, 0) + count
    names = sorted(totals, key=lambda name: (-totals[name], name))[:_MOST_OUTPUTS]
    return [(f"answered {name}", *(percent(_answered(one, name)) for one in halves)) for name in names]


def _answered(one: SideStats, name: str) -> float | None:
    return one.outputs.get(name, 0) / sum(one.outputs.values()) if one.outputs else None
