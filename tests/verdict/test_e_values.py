"""The tests behind the verdict, on plain counts: fair bets, bounds that hold at all times."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lading.verdict.e_values import EPOCH, Stream, highest_rate, mixed_path, one_sample, radius, two_sample


def column(*values: float) -> np.ndarray:
    return np.array([values], dtype=np.float64)


def binomial(n: int, rate: float) -> np.ndarray:
    return np.array([math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(n + 1)])


def outcomes(n: int, past_n: float, past_x: float, *, part: float = 0.0) -> Stream:
    """Every number of ones among n, as a block each, with the same past."""
    ones = np.arange(n + 1, dtype=np.float64)
    same = np.ones(n + 1)
    return Stream(same * n, ones, same * past_n, same * past_x, part=part)


@pytest.mark.parametrize("claim", ["harm", "safe"])
@pytest.mark.parametrize("margin", [0.0, 0.005, 0.1])
@pytest.mark.parametrize("past", [(10, 0), (200, 3), (200, 60)])
def test_a_bet_wins_nothing_on_average_if_its_null_is_true(claim, margin, past):
    na, nb = 12, 7
    live, candidate = outcomes(na, 1000, 20), outcomes(nb, *past)
    both = [
        Stream(*(np.repeat(field, nb + 1) for field in (live.n, live.ones, live.past_n, live.past_x))),
        Stream(
            *(
                np.tile(field, na + 1)
                for field in (candidate.n, candidate.ones, candidate.past_n, candidate.past_x)
            )
        ),
    ]
    e_values = np.exp(two_sample(both[0], both[1], margin, claim)).reshape(na + 1, nb + 1)
    for rate in np.linspace(0, 1 - margin, 41):
        for more in np.linspace(0, 1, 6):
            # harm is claimed where the difference is at most the margin; safety where it is at least that
            other = (rate + margin) * more if claim == "harm" else rate + margin + (1 - rate - margin) * more
            expected = binomial(na, rate) @ e_values @ binomial(nb, other)
            assert expected <= 1 + 1e-4, (rate, other)


def test_partly_counted_observations_keep_the_bet_fair():
    past = {"past_n": column(500.0), "past_x": column(20.0)}
    values = []
    for ones, part in ((1, 0), (0, 1), (0, 0)):
        candidate = Stream(column(1), column(ones), **past, part=column(part), worth=column(0.4))
        values.append(math.exp(one_sample(candidate, 0.02, "harm")[0, 0]))
    # one in full with 1 %, one of worth 0.4 with 2.5 %: a mean of 2 %
    assert 0.01 * values[0] + 0.025 * values[1] + 0.965 * values[2] == pytest.approx(1, abs=1e-9)


def test_nothing_is_bet_without_a_past_or_without_the_other_side():
    fresh = Stream(column(50), column(50), column(0), column(0))
    known = Stream(column(50), column(0), column(100), column(0))
    empty = Stream(column(0), column(0), column(100), column(0))
    bad = Stream(column(50), column(50), column(100), column(100))
    assert two_sample(known, fresh, 0.01, "harm")[0, 0] == 0
    assert two_sample(empty, bad, 0.01, "harm")[0, 0] == 0
    assert two_sample(known, bad, 0.01, "harm")[0, 0] > 50


@pytest.mark.parametrize(("rate", "margin"), [(0.002, 0.0), (0.002, 0.005), (0.3, 0.02)])
def test_an_equal_pair_is_rarely_convicted_and_one_at_the_margin_rarely_acquitted(rate, margin):
    rng = np.random.default_rng(7)
    runs, blocks, na, nb = 1000, 200, 80, 20

    def stream(n: int, p: float) -> Stream:
        x = rng.binomial(n, p, (runs, blocks)).astype(np.float64)
        past_n = np.broadcast_to(np.arange(blocks) * float(n), x.shape)
        return Stream(np.full(x.shape, float(n)), x, past_n, x.cumsum(axis=1) - x)

    for claim in ("harm", "safe"):
        log_e = two_sample(stream(na, rate), stream(nb, rate + margin), margin, claim).cumsum(axis=1)
        assert (log_e.max(axis=1) >= math.log(20)).mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_rates_that_drift_together_convict_nobody():
    rng = np.random.default_rng(11)
    runs, blocks = 500, 400
    rate = 0.02 + 0.3 * np.sin(np.arange(blocks) / 30) ** 2  # both sides alike
    streams = []
    for n in (60, 20):
        x = rng.binomial(n, rate, (runs, blocks)).astype(np.float64)
        past_n = np.broadcast_to(np.arange(blocks) * float(n), x.shape)
        streams.append(Stream(np.full(x.shape, float(n)), x, past_n, x.cumsum(axis=1) - x))
    log_e = two_sample(streams[0], streams[1], 0.0, "harm").cumsum(axis=1)
    assert (log_e.max(axis=1) >= math.log(20)).mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_no_block_counts_for_more_than_its_cap():
    path = mixed_path(np.array([[1000.0, 0.0, 0.0]]), np.zeros((1, 3)), 2.0)
    assert path[0, 0] < 2.0


def test_the_bettor_who_starts_again_detects_late_faults():
    late = 20 * EPOCH
    whole = np.full((1, late + EPOCH), -0.5)  # the bettor who remembers has lost everything
    by_epoch = np.zeros((1, late + EPOCH))
    by_epoch[0, late + 1 :] = 2.0
    assert mixed_path(whole, by_epoch, 2.0)[0, -1] > math.log(100)


def test_stakes_of_both_bettors_sum_to_one():
    still = np.zeros((2, 3 * EPOCH + 5))
    assert mixed_path(still, still, 1.0) == pytest.approx(0.0, abs=1e-12)
    assert mixed_path(np.zeros((1, 0)), np.zeros((1, 0)), 1.0).shape == (1, 0)


def test_a_mean_ever_leaves_its_bound_in_few_runs():
    rng = np.random.default_rng(3)
    x = rng.random((1000, 3000)) < 0.5
    n = np.arange(1, 3001)
    left = (x.cumsum(axis=1) / n - 0.5 > radius(n, math.log(20))).any(axis=1)
    assert 0.002 < left.mean() <= 0.05


@pytest.mark.slow
def test_a_rate_is_below_its_bound_in_most_runs():
    rng = np.random.default_rng(5)
    counts = rng.binomial(100, 0.01, (300, 40)).cumsum(axis=1)
    broken = [
        any(highest_rate(100.0 * (at + 1), x, 0.05) < 0.01 for at, x in enumerate(run)) for run in counts
    ]
    assert np.mean(broken) <= 0.05
    assert highest_rate(0, 0, 0.05) == 1.0
    assert highest_rate(1e6, 2000, 0.05) == pytest.approx(0.0022, abs=1e-4)
