"""The observations of a gate, as text and numbers for people. Tests nothing."""

from __future__ import annotations

import numpy as np

from lading.verdict.aggregates import Side
from lading.verdict.e_values import Floats
from lading.verdict.gate_tests import total_variation
from lading.verdict.limits import LiveGates
from lading.verdict.observations import AGREEMENT, TAIL, Traffic, quantile, seconds_at


def observation_counts(gate: str, traffic: Traffic) -> Floats:
    """Return the candidate's observations that a gate counts, ``[runs, seconds]``."""
    candidate = traffic.candidate
    if gate in AGREEMENT:
        return np.asarray(traffic.live.copies + candidate.copies)
    if gate == "max_accuracy_drop":
        return candidate.rated
    if gate == "max_output_shift":
        return np.asarray(candidate.outputs.sum(axis=-1))
    return traffic.tried if gate == "max_error_increase" else candidate.requests


def measurements(gate: str, traffic: Traffic) -> dict[str, float]:
    """Return the measured value of each side, or their distance; a side without observations is left out.

    Values are shares or, for latencies, seconds.
    """
    live, candidate = _live(traffic), traffic.candidate
    if gate in AGREEMENT:
        copies = observation_counts(gate, traffic).sum()
        agreed = (traffic.live.agreed + candidate.agreed).sum()
        values = _share((traffic.live.same_values + candidate.same_values).sum(), copies)
        if gate == "min_value_agreement":
            return _known(candidate=values)
        return _known(candidate=_share(agreed, copies), same_values=values)
    if gate == "max_accuracy_drop":
        return _known(
            candidate=_share(candidate.right.sum(), candidate.rated.sum()),
            live=_share(live.right.sum(), live.rated.sum()),
        )
    if gate == "max_output_shift":
        ours, theirs = (side.outputs.sum(axis=(0, 1)) for side in (candidate, live))  # [names]
        if not (ours.sum() and theirs.sum()):
            return {}
        return {"distance": float(total_variation(ours, theirs))}
    if gate == "max_error_increase":
        return _known(
            candidate=_share(traffic.failed.sum(), traffic.tried.sum()),
            live=_share(live.errors.sum(), live.requests.sum()),
        )
    return _known(candidate=_latency(gate, candidate.latency), live=_latency(gate, live.latency))


def describe(gate: str, gates: LiveGates, traffic: Traffic) -> str:
    """Return what a gate saw, as ``errors: candidate 2.1 % of 1,240, live 0.2 % of 11,160 (limit …)``."""
    limit, values = getattr(gates, gate), measurements(gate, traffic)
    count, live = int(observation_counts(gate, traffic).sum()), _live(traffic)
    if gate in AGREEMENT:
        noun = "copies" if traffic.shadow else "requests that both answered"
        of = f"{_percent(values.get('candidate'))} of {count:,} {noun}"
        if gate == "min_value_agreement":
            return f"agreement in every number: {of} (limit {limit:.4g})"
        harmful = f", harmful below {gates.roll_back_agreement:.4g}" * (gates.roll_back_agreement < limit)
        return f"agreement: {of} (limit {limit:.4g}{harmful})"
    if gate == "max_output_shift":
        text = f"{values['distance']:.3f}" if values else "unknown"
        return f"outputs: distance {text} of {count:,} from {int(live.outputs.sum()):,} (limit {limit:.4g})"
    if gate == "max_accuracy_drop":
        noun, of_live, bound = "accuracy", live.rated.sum(), f"−{100 * limit:.4g} points"
    elif gate == "max_error_increase":
        noun, of_live, bound = "errors", live.requests.sum(), f"+{100 * limit:.4g} points"
    else:
        noun, of_live, bound = f"latency {gate[12:15]}", live.requests.sum(), f"× {limit:.4g}"  # p99 or p50
    show = _milliseconds if gate in TAIL else _percent
    sides = f"candidate {show(values.get('candidate'))} of {count:,}, live {show(values.get('live'))} of"
    earlier = " before this step" if traffic.live_is_gone else ""
    return f"{noun}: {sides} {int(of_live):,}{earlier} (limit {bound})"


def number(value: float) -> str:
    """Write a number of any size in few characters."""
    return f"{value:,.0f}" if 100 <= value < 1e6 else f"{value:.3g}"


def _live(traffic: Traffic) -> Side:
    return traffic.before if traffic.live_is_gone else traffic.live


def _known(**values: float | None) -> dict[str, float]:
    return {side: value for side, value in values.items() if value is not None}


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def _latency(gate: str, latency: Floats) -> float | None:
    histogram = latency.sum(axis=(0, 1))  # [bins]
    return seconds_at(float(quantile(histogram, TAIL[gate]))) if histogram.sum() else None


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.3g} %"


def _milliseconds(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{1000 * seconds:.3g} ms"
