"""Which of many tests alarm: the chance that any alarm is false stays below a stated level, for ever.

Takes logarithms of e-values, of whatever tests: the columns of a model, its slices. The level holds however
the tests depend on each other and however often one looks. Remembers nothing.

For each test and each set of tests that it is in, the average of the set's e-values is an e-value if none of
them has anything to find (Vovk, Wang, "E-values: calibration, combination and applications", Ann. Statist.
49, 2021); by closed testing the least of these averages is the adjusted e-value of the test. It is at least
the e-value divided by the number of tests (Bonferroni), and more where several tests point the same way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from lading.monitor.dispersion import Floats

ALPHA = 0.01
"""The chance of any false alarm of a model, over all its columns and for all time."""


class HasLogE(Protocol):
    """The state of a test."""

    @property
    def log_e(self) -> float:
        """The logarithm of its e-value."""


def adjusted(log_e: Floats) -> Floats:
    """Return the adjusted logarithms of e-values, along the last axis: ``[…, tests]``."""
    order = np.argsort(log_e, axis=-1, kind="stable")
    ascending = np.take_along_axis(log_e, order, axis=-1)
    tests = log_e.shape[-1]
    # A set that makes a test's average least is the test and the k smallest, for some k below its own rank.
    smallest = np.logaddexp.accumulate(ascending, axis=-1)
    least = ascending.copy()
    for size in range(1, tests):
        averages = np.logaddexp(ascending[..., size:], smallest[..., size - 1 : size]) - math.log(size + 1)
        least[..., size:] = np.minimum(least[..., size:], averages)
    result = np.empty_like(least)
    np.put_along_axis(result, order, least, axis=-1)
    return result


def alarm_of(states: Mapping[str, HasLogE], alpha: float = ALPHA) -> dict[str, float]:
    """Return the tests that alarm at the level `alpha`, with the logarithms of their adjusted e-values.

    The strongest comes first. Pass the tests of a model all together, those without rows so far as well.
    """
    if not states:
        return {}
    # The present e-values and not the highest ones so far: averages of maxima are no e-values.
    values = adjusted(np.array([state.log_e for state in states.values()]))
    alarms = [(name, value) for name, value in zip(states, values.tolist(), strict=True)]
    alarms.sort(key=lambda alarm: -alarm[1])
    return {name: value for name, value in alarms if value >= -math.log(alpha)}
