"""How a release is shown: its row, both sides in numbers, and the verdict so far. Reads no registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lading.cli.ui import printing
from lading.units import NO_VALUE, duration, latency, percent, weight

if TYPE_CHECKING:
    from lading.release import Plan, Release
    from lading.rollout.estimate import Estimate, Forecast
    from lading.rollout.snapshot import SideStats, Snapshot

HARM, PENDING, FINE, UNKNOWN = "✗", "…", "✓", "?"
_SYMBOLS = {"harm": HARM, "pending": PENDING, "fine": FINE, "unknown": UNKNOWN}
_HEADER = ("release", "state", "live", "candidate", "share", "step", "by", "since", "reason")


def release_json(release: Release) -> dict[str, Any]:
    """Return a release as JSON output has it."""
    import msgspec

    return {"release": msgspec.structs.asdict(release)}


def release_table(releases: Sequence[Release]) -> None:
    """Print one row for each release."""
    printing.table(_HEADER, [_row(release) for release in releases])


def headline(snapshot: Snapshot) -> str:
    """Return in one line the state of a release and how long its step has lasted."""
    release = snapshot.release
    title = f"{release.name}, release {release.number}"
    if not release.is_open:
        return f"{title} is {_state(release)}: {_mode(release)}, by {release.actor}"
    age = f"for {duration(snapshot.step_age_s)}"
    if release.plan.mode == "canary":
        age += f" (at least {duration(release.plan.hold_s)})"
    return f"{title}: {_mode(release)} by {release.actor}, {_state(release)}, {_step(release)} {age}"


def notes(snapshot: Snapshot) -> list[str]:
    """Return what a newcomer has to know: which process drives the release, and what is left to people."""
    release = snapshot.release
    if not release.is_open:
        return []
    lines = []
    if snapshot.estimate is not None:
        lines.append(estimate_line(snapshot.estimate, release.plan))
    if snapshot.driver is not None:
        lines.append(f"driven by {snapshot.driver}")
    if release.state == "paused":
        lines.append(f"paused: nothing changes until `lading rollout resume {release.name}`")
    if snapshot.driver is None:
        lines.append("no process drives it: start `lading serve` or `lading rollout run`")
    if release.plan.mode in ("shadow", "ab"):
        # With its number: by the time that somebody has decided, another release may have taken its place.
        which = f"{release.name} --release {release.number}"
        decide = f"`lading rollout promote {which} --to live` or `lading rollout abort {which}`"
        lines.append(f"it stays as it is until {decide}")
    return lines


def estimate_line(estimate: Estimate, plan: Plan) -> str:
    """Return in one line how long a release will take if traffic goes on as it does."""
    rate = f"{estimate.requests_per_s:.3g} requests/s"
    if not estimate.requests_per_s:
        return "no requests at present: how long it will take cannot be said"
    if estimate.harmful:
        return f"if it goes on like this, at {rate}, it will be rolled back"
    if estimate.step_s is None:
        what = "this step" if plan.mode == "canary" else "it"
        return f"at {rate}, {what} cannot have its evidence within a day"
    if plan.mode != "canary":
        return f"{_evidence_time(estimate.step_s)}, at {rate}"
    step = f"about {duration(estimate.step_s)} more"
    if estimate.live_s is None:
        return f"{step} for this step; at {rate}, it cannot be live within a day"
    if estimate.live_s == estimate.step_s:
        return f"{step} until it is live, at {rate}"
    return f"{step} for this step, {duration(estimate.live_s)} until it is live, at {rate}"


def forecast_lines(forecast: Forecast, plan: Plan) -> list[str]:
    """Return what is expected of a release that begins, as lines."""
    if not forecast.requests_per_s:
        wait = duration(plan.no_traffic_timeout_s)
        return [f"no requests at present: a candidate that gets none is rolled back after {wait}"]
    rate = f"at the present {forecast.requests_per_s:.3g} requests/s"
    lines = [_forecast_line(forecast, plan, rate)]
    # Of ten requests that are expected in that time, none comes once in 20,000 times.
    share = 100 if plan.mode == "shadow" else plan.steps[0]
    expected = forecast.requests_per_s * share / 100 * plan.no_traffic_timeout_s
    if expected < 10:
        wait = duration(plan.no_traffic_timeout_s)
        lines.append(
            f"warning: it gets about {expected:.2g} requests in {wait} and is rolled back if it gets none "
            "in that time; `--no-traffic-timeout` waits longer"
        )
    return lines


def _forecast_line(forecast: Forecast, plan: Plan, rate: str) -> str:
    share = f"{plan.steps[0]} %"
    if forecast.live_s is not None:
        first = duration(forecast.step_s or 0.0)
        return f"about {duration(forecast.live_s)} until it is live, {first} at {share}, {rate}"
    if plan.mode != "canary" and forecast.step_s is not None:
        return f"about {duration(forecast.step_s)} until its evidence is complete, {rate}"
    what = "it cannot be live"
    if forecast.step_s is None:
        what = f"{f'the step of {share}' if plan.mode == 'canary' else 'it'} cannot have its evidence"
    way = "widen the limits under `[live]` of `--gates`"
    if forecast.larger is not None:
        took = duration(forecast.larger.live_s)
        way = f"`--canary {forecast.larger.percent},100` would take about {took}; or {way}"
    return f"warning: {rate}, {what} within a day; {way}"


def _evidence_time(step_s: float) -> str:
    """Return when a release that a person decides on has its evidence."""
    more = f"about {duration(step_s)} more until its evidence is complete"
    return more if step_s else "its evidence is complete"


def sides(snapshot: Snapshot) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the header and rows of a table with both sides since the step began."""
    stats = [side for side in (snapshot.live, snapshot.candidate) if side is not None]
    name, roles = snapshot.release.name, ("live", "candidate")
    header = ("", *(f"{role} {name}:{side.version}" for role, side in zip(roles, stats, strict=False)))
    shadow = snapshot.release.plan.mode == "shadow"
    rows = [
        ("share of requests", *(f"{weight(side.share_percent)} %" for side in stats)),
        ("requests" if not shadow else "requests, copies", *(f"{side.requests:,}" for side in stats)),
        ("per second", *(f"{side.requests_per_s:,.1f}" for side in stats)),
        ("errors", *(percent(side.error_share) for side in stats)),
        ("latency p50", *(latency(side.latency_p50_s) for side in stats)),
        ("latency p99", *(latency(side.latency_p99_s) for side in stats)),
    ]
    if any(side.accuracy is not None for side in stats):
        rows.append(("accuracy by feedback", *(_accuracy(side) for side in stats)))
    if shadow:
        rows.append(("agreement of copies", NO_VALUE, _agreement(snapshot)))
    rows += _output_rows(snapshot)
    return header, rows


def verdict_text(snapshot: Snapshot) -> tuple[str, tuple[str, ...]]:
    """Return the verdict so far as a word, and its reasons; an empty word if there is none."""
    verdict = snapshot.verdict
    if verdict is None:
        return "", ()
    # Nothing promotes a shadow or an A/B test by itself: the verdict is advice there.
    by_hand = snapshot.release.plan.mode in ("shadow", "ab")
    words = {"promote": "good enough to promote" if by_hand else "promote", "roll_back": "roll back"}
    return words.get(verdict.action, verdict.action), verdict.reasons


def symbol(reason: str) -> str:
    """Return the symbol of a reason: harm, evidence still missing, nothing known, or no harm."""
    from lading.verdict.reasons import weight_of

    return _SYMBOLS[weight_of(reason)]


def change_line(snapshot: Snapshot) -> str:
    """Return a change of a release in one line, as logs have it."""
    release = snapshot.release
    word, reasons = verdict_text(snapshot)
    counts = ", ".join(
        f"{role} {side.requests:,} requests, {percent(side.error_share)} failed"
        for role, side in (("live", snapshot.live), ("candidate", snapshot.candidate))
        if side is not None and side.requests and release.is_open
    )
    step = _step(release) if release.is_open else ""
    parts = [f"{release.name} release {release.number}", _state(release), step, counts]
    if snapshot.estimate is not None and snapshot.estimate.live_s is not None:
        parts.append(f"about {duration(snapshot.estimate.live_s)} more until it is live")
    elif snapshot.estimate is not None and release.plan.mode != "canary" and snapshot.estimate.step_s:
        parts.append(_evidence_time(snapshot.estimate.step_s))
    if word:
        parts.append(f"{word}: {reasons[0]}" if reasons else word)
    elif release.reason:
        parts.append(release.reason)
    return "; ".join(part for part in parts if part)


def end_line(release: Release) -> str:
    """Return in one line how a release ended."""
    state = "" if release.state == "live" else f"{_state(release)}, "
    reason = f": {release.reason}" if release.reason else ""
    live = f"`{release.name}:{release.live}` is live"
    return f"release {release.number} of `{release.name}` ended: {state}{live}{reason}"


def progress_line(release: Release) -> str:
    """Return in one line the state and step of an open release."""
    return f"release {release.number} of `{release.name}` is {_state(release)}: {_step(release)}"


def _row(release: Release) -> tuple[str, ...]:
    return (
        f"{release.name} {release.number}",
        _state(release),
        f"{release.name}:{release.live}" if release.live is not None else NO_VALUE,
        f"{release.name}:{release.candidate}" if release.candidate is not None else NO_VALUE,
        f"{weight(release.weight_percent)} %" if release.is_open else NO_VALUE,
        _step_number(release) if release.is_open else NO_VALUE,
        release.actor,
        printing.short_time(release.changed_at),
        release.reason,
    )


def _state(release: Release) -> str:
    return release.state.replace("_", " ")


def _mode(release: Release) -> str:
    return {"live": "straight to live", "ab": "A/B"}.get(release.plan.mode, release.plan.mode)


def _step_number(release: Release) -> str:
    return f"{release.step + 1} of {len(release.plan.steps)}"


def _step(release: Release) -> str:
    if release.plan.mode == "shadow":
        return f"copies to {release.name}:{release.candidate}"
    share = f"{weight(release.weight_percent)} % to {release.name}:{release.candidate}"
    return f"step {_step_number(release)}, {share}" if len(release.plan.steps) > 1 else share


def _accuracy(side: SideStats) -> str:
    rated = side.feedback.right + side.feedback.wrong
    return f"{percent(side.accuracy)} of {rated:,}" if rated else NO_VALUE


def _agreement(snapshot: Snapshot) -> str:
    counts = snapshot.shadow
    compared = counts.agreed + counts.differed + counts.failed
    text = f"{percent(counts.agreed / compared)} of {compared:,}" if compared else NO_VALUE
    return f"{text}, {counts.dropped:,} not sent" if counts.dropped else text


def _output_rows(snapshot: Snapshot) -> list[tuple[str, ...]]:
    """Return a row for each of the most frequent outputs, with its share on each side that there is."""
    # A live version without a candidate has one column.
    there = [at for at, side in enumerate((snapshot.live, snapshot.candidate)) if side is not None]
    return [
        (f"answered {name}", *(percent(shares[at]) for at in there))
        for name, *shares in snapshot.frequent_outputs()
    ]
