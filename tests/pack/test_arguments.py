"""Arguments of `pack`, one by one."""

from __future__ import annotations

import numpy as np
import pytest

from lading.errors import InvalidSetting
from lading.pack.arguments import read_metrics, read_tolerance
from lading.parity import Tolerance


def test_a_number_is_both_the_relative_and_the_absolute_tolerance():
    assert read_tolerance(0.01) == Tolerance(rtol=0.01, atol=0.01)
    assert read_tolerance(Tolerance(rtol=0.5)) == Tolerance(rtol=0.5)
    assert read_tolerance(None) is None


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), float("inf")])
def test_a_tolerance_that_is_no_number_of_at_least_zero_is_refused(tolerance):
    with pytest.raises(InvalidSetting, match="`tolerance`: expected a number, 0 or more"):
        read_tolerance(tolerance)


def test_metrics_become_plain_floats():
    assert read_metrics({"accuracy": np.float32(0.5), "rows": 3}) == {"accuracy": 0.5, "rows": 3.0}


@pytest.mark.parametrize("value", [float("nan"), "0.9", None])
def test_a_metric_that_is_no_finite_number_is_refused(value):
    with pytest.raises(InvalidSetting, match="metric `accuracy`: expected a finite number"):
        read_metrics({"accuracy": value})
