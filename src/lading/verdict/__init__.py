"""The verdict on a candidate: promote, hold or roll back, from windows of live traffic and limits.

Pure: reads no clock and no catalog, carries nothing out. Evidence is that of the running step; the tests
behind it stay valid however often one looks (`e_values`). docs/reference/verdict.md says what is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np

from lading.release import Plan
from lading.traffic import Window
from lading.verdict.aggregates import names_of, side_of
from lading.verdict.explain import describe, measurements, number, observation_counts
from lading.verdict.gate_tests import Finding, check
from lading.verdict.limits import GATES, LiveGates, parse_live, read_live
from lading.verdict.observations import Traffic

__all__ = ["Action", "LiveGates", "Verdict", "judge", "parse_live", "read_live"]

Action = Literal["promote", "hold", "roll_back"]
_ONLY_SHADOW = ("min_agreement",)
_NEVER_SHADOW = ("max_latency_p99_ratio", "max_latency_p50_ratio")
# Shown e-values end here: exp of a larger log may be more than JSON holds, and says no more to people.
_MAX_LOG_E = math.log(1e12)


class Verdict(msgspec.Struct, frozen=True):
    """What to do, the reasons, and the numbers behind them. ``promote`` means: go to the next step."""

    action: Action
    reasons: tuple[str, ...]
    numbers: dict[str, float]


def judge(
    plan_gates: Mapping[str, float],
    live_windows: Sequence[Window],
    candidate_windows: Sequence[Window],
    now: float,
    step_started_at: float,
    plan: Plan,
) -> Verdict:
    """Judge the running step of a release at the Unix time `now`.

    ``plan_gates`` are the limits that the plan states (`read_live`); the others have their defaults. Windows
    are those of the release; live's from before the step serve a step that leaves live no traffic. Raises
    `InvalidSetting` for an unknown gate.
    """
    gates = LiveGates.of(plan_gates, where="plan")
    traffic = _traffic(live_windows, candidate_windows, now, step_started_at, plan)
    judged = [gate for gate in applicable(plan.mode) if gates.judged(gate)]
    # Bonferroni: the chances of a false conviction of all gates in all steps sum to alpha.
    alpha = gates.alpha / max(1, len(judged) * len(plan.steps))
    findings = [check(gate, gates, traffic, alpha) for gate in judged]
    numbers = {
        "candidate.requests": float(traffic.tried.sum()),
        "live.requests": float(traffic.live.requests.sum()),
        "step.age_s": now - step_started_at,
    }
    harmful: list[str] = []
    missing = _too_early(traffic, now - step_started_at, plan)
    kept: list[str] = []
    for finding in findings:
        numbers |= _numbers(finding, traffic)
        description = describe(finding.gate, gates, traffic)
        if _harm(finding) >= finding.log_threshold:
            harmful.append(f"{description}; {_certain(finding, gates.alpha)}")
        elif _needs_proof(finding.gate, plan_gates, traffic) and not _is_proved(finding):
            missing.append(f"{description}; {_not_yet(finding, traffic)}")
        else:
            kept.append(f"{description}; {_kept(finding, gates.beta)}")
    if harmful:
        return Verdict("roll_back", tuple(harmful), numbers)
    quiet_s = _seconds_without_traffic(candidate_windows, now, step_started_at)
    if quiet_s >= plan.no_traffic_timeout_s:
        return Verdict("roll_back", (_no_traffic(quiet_s, plan),), numbers)
    return Verdict("hold" if missing else "promote", (*missing, *kept), numbers)


def applicable(mode: str) -> tuple[str, ...]:
    """Return the gates that a mode can be judged by."""
    # A shadow copy waits until live has been answered, so its latency says nothing.
    excluded = _NEVER_SHADOW if mode == "shadow" else _ONLY_SHADOW
    return tuple(gate for gate in GATES if gate not in excluded)


def _traffic(
    live: Sequence[Window], candidate: Sequence[Window], now: float, since: float, plan: Plan
) -> Traffic:
    names = names_of(live, candidate)
    before = [window for window in live if window.at < since]
    live = [window for window in live if since <= window.at <= now]
    candidate = [window for window in candidate if since <= window.at <= now]
    times = np.unique(np.array([window.at for window in (*live, *candidate)], dtype=np.float64))  # [seconds]
    earlier = np.unique(np.array([window.at for window in before], dtype=np.float64))
    return Traffic(
        live=side_of(live, times, names),
        candidate=side_of(candidate, times, names),
        before=side_of(before, earlier, names),
        ages=times - since,
        shadow=plan.mode == "shadow",
    )


def _too_early(traffic: Traffic, age_s: float, plan: Plan) -> list[str]:
    reasons = []
    requests = int(traffic.tried.sum())
    if age_s < plan.hold_s:
        reasons.append(f"not enough yet: {age_s:,.0f} s of the {plan.hold_s:,.0f} s that the step is held")
    if requests < plan.min_requests:
        noun = "copies" if traffic.shadow else "requests"
        reasons.append(f"not enough yet: {requests:,} of {plan.min_requests:,} {noun} to the candidate")
    return reasons


def _needs_proof(gate: str, stated: Mapping[str, float], traffic: Traffic) -> bool:
    if traffic.live_is_gone:  # it was proved in the step before, which had live traffic to compare with
        return False
    if gate in stated:
        return True
    if gate == "max_output_shift":
        return bool(traffic.live.outputs.sum() + traffic.candidate.outputs.sum() > 0)
    return gate != "max_accuracy_drop"


def _harm(finding: Finding) -> float:
    # The highest so far: what was certain once stays so, and the answer does not depend on when one looked.
    return float(finding.harm.max(initial=0.0))


def _proof(finding: Finding) -> float:
    return float(finding.proof[0, -1]) if finding.proof is not None and finding.proof.size else 0.0


def _is_proved(finding: Finding) -> bool:
    return _proof(finding) >= 1


def _certain(finding: Finding, alpha: float) -> str:
    e_value = number(math.exp(min(_harm(finding), _MAX_LOG_E)))
    threshold = number(math.exp(finding.log_threshold))
    return f"harm is certain beyond {100 * (1 - alpha):g} % (e-value {e_value} ≥ {threshold})"


def _not_yet(finding: Finding, traffic: Traffic) -> str:
    proof = _proof(finding)
    text = f"not enough yet: {100 * max(proof, 0):.0f} % of the evidence that the limit is kept"
    count = float(observation_counts(finding.gate, traffic).sum())
    if proof < 0.1 or not count:
        return text
    # Evidence grows about in proportion to the observations; two digits of such an estimate mean something.
    more = count * (1 / proof - 1)
    digits = max(0, len(str(int(more))) - 2)
    return f"{text}, about {max(1, round(more, -digits)):,.0f} more to go"


def _kept(finding: Finding, beta: float) -> str:
    if _is_proved(finding):
        return f"within the limit, certain beyond {100 * (1 - beta):g} %"
    return "no sign of harm"


def _numbers(finding: Finding, traffic: Traffic) -> dict[str, float]:
    numbers = {
        **measurements(finding.gate, traffic),
        "count": float(observation_counts(finding.gate, traffic).sum()),
        "harm_e_value": math.exp(min(_harm(finding), _MAX_LOG_E)),
        "harm_threshold": math.exp(finding.log_threshold),
        "proof": _proof(finding),
    }
    return {f"{finding.gate}.{name}": value for name, value in numbers.items()}


def _seconds_without_traffic(candidate: Sequence[Window], now: float, since: float) -> float:
    last = max(
        (window.at for window in candidate if since <= window.at <= now and _has_requests(window)),
        default=since,
    )
    return now - last


def _has_requests(window: Window) -> bool:
    copies = window.shadow
    return bool(window.requests or copies.agreed or copies.differed or copies.failed)


def _no_traffic(quiet_s: float, plan: Plan) -> str:
    return (
        f"no traffic: no request to the candidate for {quiet_s:,.0f} s, at most "
        f"{plan.no_traffic_timeout_s:,.0f} s are waited"
    )
