"""The verdict on a candidate: promote, hold or roll back, from windows of live traffic and limits.

Pure: reads no clock and no catalog, carries nothing out. Evidence is that of the running step; the tests
behind it stay valid however often one looks (`e_values`). docs/reference/verdict.md says what is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from lading import notebook
from lading.release import Plan
from lading.traffic import Window
from lading.verdict.explain import describe, measurements, number, observation_counts
from lading.verdict.gate_tests import Finding, check
from lading.verdict.limits import GATES, LiveGates, parse_live, read_live
from lading.verdict.observations import Traffic
from lading.verdict.paths import MAX_LOG_E, GatePath, paths_of
from lading.verdict.step_windows import StepWindows

__all__ = [
    "Action",
    "GatePath",
    "LiveGates",
    "Verdict",
    "judge",
    "judge_with_paths",
    "parse_live",
    "read_live",
]

Action = Literal["promote", "hold", "roll_back"]
_NEVER_SHADOW = ("max_latency_p99_ratio", "max_latency_p50_ratio")
_ONE_CALLER = "not enough yet: harm is certain, but not without one group of callers; a person decides"
_FEW_CALLERS = "; one caller, or a few, made these requests"
# An e-value of 3: one candidate in three that is within its limit ever shows it, and few at a given moment.
_LIKELY = math.log(3)


class Verdict(msgspec.Struct, frozen=True):
    """What to do, the reasons, and the numbers behind them. ``promote`` means: go to the next step.

    ``unknown`` are the gates of which there is no evidence at all.
    """

    action: Action
    reasons: tuple[str, ...]
    numbers: dict[str, float]
    unknown: tuple[str, ...] = ()

    def __repr__(self) -> str:
        first = notebook.line(self.reasons[0]) if self.reasons else "no reason"
        more = f" and {len(self.reasons) - 1} more" if len(self.reasons) > 1 else ""
        return f"Verdict({self.action}: {first}{more})"

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows, or None without the extra ``hub``."""
        return notebook.fragment("verdict", self)


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
    return _verdict(_examined(plan_gates, live_windows, candidate_windows, now, step_started_at, plan))


def judge_with_paths(
    plan_gates: Mapping[str, float],
    live_windows: Sequence[Window],
    candidate_windows: Sequence[Window],
    now: float,
    step_started_at: float,
    plan: Plan,
) -> tuple[Verdict, tuple[GatePath, ...]]:
    """Return the verdict of `judge`, and for each gate how its evidence came to be what it is."""
    examined = _examined(plan_gates, live_windows, candidate_windows, now, step_started_at, plan)
    return _verdict(examined), paths_of(examined.findings, examined.traffic.ages, step_started_at)


@dataclass(frozen=True, slots=True)
class _Examined:
    """A step, and the finding of each gate that limits anything."""

    stated: Mapping[str, float]
    plan: Plan
    gates: LiveGates
    step: StepWindows
    traffic: Traffic
    alpha: float
    findings: list[Finding]
    age_s: float
    quiet_s: float


def _examined(
    stated: Mapping[str, float],
    live: Sequence[Window],
    candidate: Sequence[Window],
    now: float,
    since: float,
    plan: Plan,
) -> _Examined:
    gates = LiveGates.of(stated, where="plan")
    step = StepWindows.of(live, candidate, now, since, shadow=plan.mode == "shadow")
    traffic = step.traffic()
    judged = [gate for gate in applicable(plan.mode) if gates.judged(gate)]
    # Bonferroni: the chances of a false conviction of all gates in all steps sum to alpha.
    alpha = gates.alpha / max(1, len(judged) * len(plan.steps))
    return _Examined(
        stated=stated,
        plan=plan,
        gates=gates,
        step=step,
        traffic=traffic,
        alpha=alpha,
        findings=[check(gate, gates, traffic, alpha) for gate in judged],
        age_s=now - since,
        quiet_s=_seconds_without_traffic(candidate, now, since, plan),
    )


def _verdict(examined: _Examined) -> Verdict:
    gates, traffic, findings = examined.gates, examined.traffic, examined.findings
    numbers = {
        "candidate.requests": float(traffic.tried.sum()),
        "live.requests": float(traffic.live.requests.sum()),
        "step.age_s": examined.age_s,
    }
    broken = {finding.gate for finding in findings if _harm(finding) >= finding.log_threshold}
    others = list(examined.step.without_each()) if broken else []
    few = _FEW_CALLERS if broken and examined.step.is_of_few_callers() else ""
    harmful: list[str] = []
    missing = _too_early(traffic, examined.age_s, examined.plan)
    kept: list[str] = []
    for finding in findings:
        numbers |= _numbers(finding, traffic)
        description = describe(finding.gate, gates, traffic)
        if finding.gate in broken and _is_shown_without_any(finding, gates, others, examined.alpha):
            harmful.append(f"{description}; {_certain(finding, gates.alpha)}{few}")
        elif finding.gate in broken and _leans_to_harm(finding):
            missing.append(f"{description}; {_ONE_CALLER}")
        elif _is_missing(finding, examined.stated, traffic, examined.plan):
            missing.append(f"{description}; {_not_yet(finding, traffic)}")
        else:
            kept.append(f"{description}; {_kept(finding, traffic, gates.beta)}")
    unknown = tuple(finding.gate for finding in findings if not _count(finding, traffic))
    if harmful:
        return Verdict("roll_back", tuple(harmful), numbers, unknown)
    if examined.quiet_s >= examined.plan.no_traffic_timeout_s:
        return Verdict("roll_back", (_no_traffic(examined.quiet_s, examined.plan),), numbers, unknown)
    return Verdict("hold" if missing else "promote", (*missing, *kept), numbers, unknown)


def _is_shown_without_any(
    finding: Finding, gates: LiveGates, others: Sequence[Traffic], alpha: float
) -> bool:
    """Return whether harm is as certain without any one group of callers: nobody rolls back alone.

    The least of several e-processes is below each of them, and so makes no false alarm that one would not.
    """
    return all(
        _harm(without) >= without.log_threshold
        for without in (check(finding.gate, gates, traffic, alpha) for traffic in others)
    )


def applicable(mode: str) -> tuple[str, ...]:
    """Return the gates that a mode can be judged by."""
    # A shadow copy waits until live has been answered, so its latency says nothing.
    excluded = _NEVER_SHADOW if mode == "shadow" else ()
    return tuple(gate for gate in GATES if gate not in excluded)


def _too_early(traffic: Traffic, age_s: float, plan: Plan) -> list[str]:
    reasons = []
    requests = int(traffic.tried.sum())
    if age_s < plan.hold_s:
        reasons.append(f"not enough yet: {age_s:,.0f} s of the {plan.hold_s:,.0f} s that the step is held")
    if requests < plan.min_requests:
        noun = "copies" if traffic.shadow else "requests"
        reasons.append(f"not enough yet: {requests:,} of {plan.min_requests:,} {noun} to the candidate")
    if traffic.live_is_gone and _begins_at_all(plan):
        reasons.append(
            "not enough yet: live gets no requests at 100 %, and no step came before in which both did; "
            "promote by hand, or begin with a smaller share"
        )
    return reasons


def _begins_at_all(plan: Plan) -> bool:
    return plan.steps[0] >= 100


def _is_missing(finding: Finding, stated: Mapping[str, float], traffic: Traffic, plan: Plan) -> bool:
    if _leans_to_harm(finding):
        return True
    if finding.gate == "max_accuracy_drop" and finding.gate not in stated:
        return False
    if traffic.live_is_gone and not _begins_at_all(plan):
        # It was proved in the step before, which had live traffic to compare with; but a check that sees
        # nothing of this step does not let it pass.
        return not _count(finding, traffic)
    return not _is_proved(finding)


def _leans_to_harm(finding: Finding) -> bool:
    """Return whether more speaks for harm than chance often shows: nothing is promoted at such a moment."""
    return not _is_proved(finding) and bool(finding.harm.size) and float(finding.harm[0, -1]) >= _LIKELY


def _count(finding: Finding, traffic: Traffic) -> float:
    return float(observation_counts(finding.gate, traffic).sum())


def _harm(finding: Finding) -> float:
    # The highest so far: what was certain once stays so, and the answer does not depend on when one looked.
    return float(finding.harm.max(initial=0.0))


def _proof(finding: Finding) -> float:
    return float(finding.proof[0, -1]) if finding.proof is not None and finding.proof.size else 0.0


def _is_proved(finding: Finding) -> bool:
    return _proof(finding) >= 1


def _certain(finding: Finding, alpha: float) -> str:
    e_value = number(math.exp(min(_harm(finding), MAX_LOG_E)))
    threshold = number(math.exp(finding.log_threshold))
    return f"harm is certain beyond {100 * (1 - alpha):g} % (e-value {e_value} ≥ {threshold})"


def _not_yet(finding: Finding, traffic: Traffic) -> str:
    proof = _proof(finding)
    text = f"not enough yet: {100 * max(proof, 0):.0f} % of the evidence that the limit is kept"
    count = _count(finding, traffic)
    if not count:
        return f"not enough yet: no evidence; `{finding.gate} = false` under `[live]` leaves this check out"
    if _leans_to_harm(finding):
        e_value, certain = (number(math.exp(value)) for value in (finding.harm[0, -1], finding.log_threshold))
        return f"not enough yet: harm is likely (e-value {e_value}, certain from {certain} on)"
    if proof < 0.1:
        return text
    # Evidence grows about in proportion to the observations; two digits of such an estimate mean something.
    more = count * (1 / proof - 1)
    digits = max(0, len(str(int(more))) - 2)
    return f"{text}, about {max(1, round(more, -digits)):,.0f} more to go"


def _kept(finding: Finding, traffic: Traffic, beta: float) -> str:
    if not _count(finding, traffic):
        return "no evidence"
    if _is_proved(finding):
        return f"within the limit, certain beyond {100 * (1 - beta):g} %"
    return "no sign of harm" if traffic.live_is_gone else "no sign of harm, but not proved"


def _numbers(finding: Finding, traffic: Traffic) -> dict[str, float]:
    numbers = {
        **measurements(finding.gate, traffic),
        "count": _count(finding, traffic),
        "harm_e_value": math.exp(min(_harm(finding), MAX_LOG_E)),
        "harm_threshold": math.exp(finding.log_threshold),
        "proof": _proof(finding),
    }
    return {f"{finding.gate}.{name}": value for name, value in numbers.items()}


def _seconds_without_traffic(candidate: Sequence[Window], now: float, since: float, plan: Plan) -> float:
    last = max(
        (window.at for window in candidate if since <= window.at <= now and _has_requests(window, plan)),
        default=since,
    )
    return now - last


def _has_requests(window: Window, plan: Plan) -> bool:
    copies = window.shadow
    copied = plan.mode == "shadow" and (copies.agreed or copies.differed or copies.failed)
    return bool(window.requests or copied)


def _no_traffic(quiet_s: float, plan: Plan) -> str:
    return (
        f"no traffic: no request to the candidate for {quiet_s:,.0f} s, at most "
        f"{plan.no_traffic_timeout_s:,.0f} s are waited"
    )
