"""One gate against one step's traffic: the evidence of harm, and that there is none. Decides nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lading.verdict.aggregates import Blocks
from lading.verdict.e_values import Claim, Floats, mixed_path, one_sample, radius, two_sample
from lading.verdict.limits import LiveGates
from lading.verdict.observations import (
    AGREEMENT,
    Traffic,
    against_before,
    blocks_for,
    disagreed,
    rates,
    slower,
)

MIN_BLOCKS = 3
"""Blocks that must speak against a candidate before it is convicted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one gate after each block, ``[runs, blocks]``.

    ``harm`` is the log e-value of the limit being broken. ``proof`` is the evidence that it is kept: 1 is
    enough; None without live traffic to compare with.
    """

    gate: str
    blocks: Blocks
    harm: Floats
    proof: Floats | None
    log_threshold: float


def check(gate: str, gates: LiveGates, traffic: Traffic, alpha: float) -> Finding:
    """Test one gate; `alpha` is the chance of a false conviction that it may use up."""
    limit = getattr(gates, gate)
    if gate in AGREEMENT:
        harmful = gates.roll_back_agreement if gate == "min_agreement" else limit
        return _agreement(gate, (1 - harmful, 1 - limit), traffic, alpha, gates.beta)
    if traffic.live_is_gone:
        return _after_live(gate, limit, traffic, alpha)
    blocks = blocks_for(gate, traffic, alone=False)
    threshold = math.log(1 / alpha)
    harm = mixed_path(
        _log_e(gate, limit, traffic, blocks, "harm", by_epoch=False),
        _log_e(gate, limit, traffic, blocks, "harm", by_epoch=True),
        threshold / MIN_BLOCKS,
    )
    if gate == "max_output_shift":
        return Finding(gate, blocks, harm, shift_proof(limit, traffic, blocks, gates.beta), threshold)
    safe = _log_e(gate, limit, traffic, blocks, "safe", by_epoch=False).cumsum(axis=-1)
    return Finding(gate, blocks, harm, safe / math.log(1 / gates.beta), threshold)


def _log_e(
    gate: str, limit: float, traffic: Traffic, blocks: Blocks, claim: Claim, *, by_epoch: bool
) -> Floats:
    past = blocks.past_of_epoch if by_epoch else blocks.past
    if gate.endswith("_ratio"):
        # The ratio is in the threshold of the candidate's latencies; what remains is a difference of 0.
        live, candidate = slower(gate, limit, traffic, blocks, past)
        return two_sample(live, candidate, 0.0, claim)
    live, candidate = rates(gate, traffic, blocks, past)
    return two_sample(live, candidate, limit, claim)


def _agreement(
    gate: str, limits: tuple[float, float], traffic: Traffic, alpha: float, beta: float
) -> Finding:
    """Test the share of disagreement against the limits of harm and of proof; live needs no sample."""
    harmful, allowed = limits
    blocks = blocks_for(gate, traffic, alone=True)
    threshold = math.log(1 / alpha)
    whole = disagreed(gate, traffic, blocks, blocks.past)
    by_epoch = disagreed(gate, traffic, blocks, blocks.past_of_epoch)
    harm = mixed_path(
        one_sample(whole, harmful, "harm"), one_sample(by_epoch, harmful, "harm"), threshold / MIN_BLOCKS
    )
    safe = one_sample(whole, allowed, "safe").cumsum(axis=-1)
    return Finding(gate, blocks, harm, safe / math.log(1 / beta), threshold)


def _after_live(gate: str, limit: float, traffic: Traffic, alpha: float) -> Finding:
    """Test against live's traffic before the step: half of `alpha` bounds that, half is for the test."""
    blocks = blocks_for(gate, traffic, alone=True)
    threshold = math.log(2 / alpha)
    whole, by_epoch = (
        one_sample(*against_before(gate, limit, traffic, blocks, past, alpha / 2), "harm")
        for past in (blocks.past, blocks.past_of_epoch)
    )
    return Finding(gate, blocks, mixed_path(whole, by_epoch, threshold / MIN_BLOCKS), None, threshold)


def shift_proof(limit: float, traffic: Traffic, blocks: Blocks, beta: float) -> Floats:
    """Return how far it is proved that the total variation is below `limit`, ``[runs, blocks]``; 1 is proved.

    The total variation is the greatest difference of the shares of a set of labels. Each set's share on each
    side is bounded at all times (`radius`), all 2^names sets and both sides sharing `beta`. It is proved when
    the observed distance and both radii together stay below the limit.
    """
    ours, theirs = (
        np.cumsum(blocks.sums(side.outputs), axis=1) for side in (traffic.candidate, traffic.live)
    )  # [runs, blocks, names]
    n, m = ours.sum(axis=-1), theirs.sum(axis=-1)  # [runs, blocks]
    distance = total_variation(ours, theirs)
    log_sets = math.log(2 / beta) + (ours.shape[-1] + 1) * math.log(2)  # one name more: those not seen yet
    unsure = radius(n, log_sets) + radius(m, log_sets)
    # Squared, because a radius shrinks with the root of the observations: so the proof grows with them.
    return np.asarray((np.maximum(limit - distance, 0.0) / unsure) ** 2)


def total_variation(ours: Floats, theirs: Floats) -> Floats:
    """Return the total variation distance of two rows of counts, ``[...]`` from ``[..., names]``."""
    shares = [counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1e-9) for counts in (ours, theirs)]
    return np.asarray(0.5 * np.abs(shares[0] - shares[1]).sum(axis=-1))
