"""The observations of each gate, as streams of ones and zeros on both sides. Tests nothing, has no defaults.

Every gate is a question about one share: of failed requests, of answers that took longer than a threshold, of
outputs within a set of labels, of wrong answers, of requests that both sides answer differently. Thresholds
and sets are chosen for each block from the traffic before it: chosen from its own, the test would be unfair.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lading.traffic import LATENCY_BOUNDS_S
from lading.verdict.aggregates import BINS, Blocks, Side, blocks_of
from lading.verdict.e_values import Floats, Stream, highest_rate, radius

# The bounds of the bins are equally far apart on a logarithmic scale: this is the ratio of two neighbours.
_BIN_RATIO = (LATENCY_BOUNDS_S[-1] / LATENCY_BOUNDS_S[0]) ** (1 / (len(LATENCY_BOUNDS_S) - 1))
TAIL = {"max_latency_p99_ratio": 0.01, "max_latency_p50_ratio": 0.5}
AGREEMENT = ("min_agreement", "min_value_agreement")
_OWN_OBSERVATIONS = ("max_output_shift", "max_accuracy_drop", *AGREEMENT)
Booleans = NDArray[np.bool_]
Past = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Both sides in one step, and live in the steps before it."""

    live: Side
    candidate: Side
    before: Side
    ages: Floats  # [seconds], since the step began
    shadow: bool
    # The blocks made so far, by what they count: gates that count the same share them.
    cuts: dict[tuple[str, bool], Blocks] = field(default_factory=dict)

    @property
    def live_is_gone(self) -> bool:
        """Whether the candidate has all traffic; live's traffic before the step is then compared with."""
        # Live may keep a hundredth: requests in flight, and replicas that have not followed yet.
        live, candidate = self.live.requests.sum(), self.tried.sum()
        return bool(
            not self.shadow and candidate > 0 and live * 100 <= candidate and self.before.requests.sum() > 0
        )

    @property
    def tried(self) -> Floats:
        """Requests to the candidate, or copies of requests, ``[runs, seconds]``."""
        return self.candidate.copies if self.shadow else self.candidate.requests

    @property
    def failed(self) -> Floats:
        """Those of `tried` that failed."""
        return self.candidate.failed if self.shadow else self.candidate.errors


def blocks_for(gate: str, traffic: Traffic, *, alone: bool) -> Blocks:
    """Cut the step into blocks in which both sides (only the candidate if `alone`) have observations."""
    live, candidate = traffic.live, traffic.candidate
    counted = gate if gate in _OWN_OBSERVATIONS else "requests"
    if (counted, alone) not in traffic.cuts:
        if counted == "max_output_shift":
            both = [live.outputs.sum(axis=-1), candidate.outputs.sum(axis=-1)]
        elif counted == "max_accuracy_drop":
            both = [live.rated, candidate.rated]
        elif counted in AGREEMENT:
            both = [live.copies + candidate.copies]
        else:
            both = [live.requests, traffic.tried]
        traffic.cuts[counted, alone] = blocks_of(both[-1:] if alone else both, traffic.ages)
    return traffic.cuts[counted, alone]


def rates(gate: str, traffic: Traffic, blocks: Blocks, past: Past) -> tuple[Stream, Stream]:
    """Return the streams of live and candidate for a gate that has both."""
    live, candidate = traffic.live, traffic.candidate
    if gate == "max_error_increase":
        return (
            _stream(blocks, past, live.requests, live.errors),
            _stream(blocks, past, traffic.tried, traffic.failed),
        )
    if gate == "max_accuracy_drop":
        return (
            _stream(blocks, past, live.rated, live.wrong),
            _stream(blocks, past, candidate.rated, candidate.wrong),
        )
    assert gate == "max_output_shift"
    # The labels that the candidate has given more often than live so far: if the total variation is within
    # the limit, then so is the difference of the shares of any set of labels.
    favoured = _shares(past(candidate.outputs)) > _shares(past(live.outputs))  # [runs, blocks, names]
    return (
        _within(blocks, past, live.outputs, favoured),
        _within(blocks, past, candidate.outputs, favoured),
    )


def slower(gate: str, ratio: float, traffic: Traffic, blocks: Blocks, past: Past) -> tuple[Stream, Stream]:
    """Return live's answers above its own quantile so far, and the candidate's above `ratio` times that."""
    tail = TAIL[gate]
    before = blocks.past(traffic.live.latency)  # [runs, blocks, bins]
    threshold = quantile(before, tail)  # [runs, blocks]
    known = before.sum(axis=-1) >= 2 / tail  # from two answers above it on, the quantile is used
    live = _above(blocks, past, traffic.live.latency, threshold, known)
    shift = math.log(ratio) / math.log(_BIN_RATIO)
    return live, _above(blocks, past, traffic.candidate.latency, threshold + shift, known)


def against_before(
    gate: str, limit: float, traffic: Traffic, blocks: Blocks, past: Past, alpha: float
) -> tuple[Stream, Floats]:
    """Return the candidate's stream, and the share that live's traffic before this step allows it.

    Live's share is bounded from above, wrong with probability `alpha` at most. One run only.
    """
    before, candidate = traffic.before, traffic.candidate
    if gate in TAIL:
        histogram = before.latency.sum(axis=1)  # [runs, bins]
        threshold = quantile(histogram, TAIL[gate])
        allowed = highest_rate(histogram.sum(), histogram.sum() * TAIL[gate], alpha)
        position = threshold + math.log(limit) / math.log(_BIN_RATIO)
        shape = (1, blocks.edges.shape[1] - 1)
        stream = _above(
            blocks, past, candidate.latency, np.broadcast_to(position, shape), np.ones(shape, bool)
        )
        return stream, np.full(shape, allowed)
    if gate == "max_output_shift":
        total = before.outputs.sum(axis=1, keepdims=True)  # [runs, 1, names]
        favoured = _shares(past(candidate.outputs)) > _shares(total)  # [runs, blocks, names]
        # Any of the 2^names sets of labels may be chosen: the bound holds for all of them.
        unsure = radius(total.sum(), math.log(1 / alpha) + total.shape[-1] * math.log(2))
        share = (_shares(total) * favoured).sum(axis=-1)
        return _within(blocks, past, candidate.outputs, favoured), np.asarray(share + unsure + limit)
    accuracy = gate == "max_accuracy_drop"
    n, x = (before.rated, before.wrong) if accuracy else (before.requests, before.errors)
    stream = (
        _stream(blocks, past, candidate.rated, candidate.wrong)
        if accuracy
        else _stream(blocks, past, traffic.tried, traffic.failed)
    )
    return stream, np.full(stream.n.shape, highest_rate(n.sum(), x.sum(), alpha) + limit)


def disagreed(gate: str, traffic: Traffic, blocks: Blocks, past: Past) -> Stream:
    """Return the requests to both sides that the candidate answered otherwise than live, or not at all."""
    # Either side may have counted them.
    live, candidate = traffic.live, traffic.candidate
    copies = live.copies + candidate.copies
    if gate == "min_value_agreement":
        return _stream(blocks, past, copies, copies - live.same_values - candidate.same_values)
    return _stream(blocks, past, copies, live.disagreed + candidate.disagreed)


def quantile(histogram: Floats, tail: float) -> Floats:
    """Return the place on the scale of bins above which is the share `tail` of the latencies, ``[...]``.

    A place is the number of a bin and the part of it that is below. Within a bin, latencies are taken as
    spread evenly on the logarithmic scale that the bins have.
    """
    above = np.flip(np.cumsum(np.flip(histogram, -1), -1), -1)  # [..., bins], in this bin or a higher one
    count = tail * above[..., 0]
    bin_ = np.maximum((above > count[..., None]).sum(axis=-1) - 1, 0)
    here = np.take_along_axis(histogram, bin_[..., None], -1)[..., 0]
    higher = np.take_along_axis(above, bin_[..., None], -1)[..., 0] - here
    inside = np.divide(count - higher, here, out=np.zeros_like(here), where=here > 0)
    return np.asarray(bin_ + 1 - np.clip(inside, 0, 1))


def seconds_at(place: float) -> float:
    """Return the latency at a place on the scale of bins."""
    return LATENCY_BOUNDS_S[0] * float(_BIN_RATIO ** (place - 1))


def _above(blocks: Blocks, past: Past, latency: Floats, place: Floats, known: Booleans) -> Stream:
    ones, part, worth = _exceeding(blocks.sums(latency), place)
    before, past_part, _ = _exceeding(past(latency), place)
    return Stream(
        n=np.where(known, blocks.sums(latency).sum(axis=-1), 0.0),
        ones=np.where(known, ones, 0.0),
        past_n=past(latency).sum(axis=-1),
        past_x=before + past_part * worth,
        part=np.where(known, part, 0.0),
        worth=worth,
    )


def _exceeding(histogram: Floats, place: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the latencies above a place's bin, those in it, and the part of the bin that is above."""
    bin_ = np.clip(np.floor(place), 0, BINS - 1).astype(np.int64)
    worth = np.clip(bin_ + 1 - place, 0.0, 1.0)
    from_here = np.flip(np.cumsum(np.flip(histogram, -1), -1), -1)
    part = np.take_along_axis(histogram, bin_[..., None], -1)[..., 0]
    return np.take_along_axis(from_here, bin_[..., None], -1)[..., 0] - part, part, worth


def _stream(blocks: Blocks, past: Past, n: Floats, x: Floats) -> Stream:
    return Stream(blocks.sums(n), blocks.sums(x), past(n), past(x))


def _within(blocks: Blocks, past: Past, outputs: Floats, chosen: Booleans) -> Stream:
    here, before = blocks.sums(outputs), past(outputs)  # [runs, blocks, names]
    return Stream(
        n=here.sum(axis=-1),
        ones=(here * chosen).sum(axis=-1),
        past_n=before.sum(axis=-1),
        past_x=(before * chosen).sum(axis=-1),
    )


def _shares(outputs: Floats) -> Floats:
    total = outputs.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(outputs, total, out=np.zeros_like(outputs), where=total > 0))
