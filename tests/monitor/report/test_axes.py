from __future__ import annotations

import math

import numpy as np
import pytest

from lading.monitor.report.axes import bin_axis, digits, round_values, time_ticks


def test_the_area_of_a_bin_is_its_share_whatever_its_width():
    axis = bin_axis((1.0, 2.0, 4.0), 0.5, 4.5)
    shares = [0.1, 0.2, 0.3, 0.4]
    widths = np.diff(axis.edges)
    assert axis.edges == (0.5, 1.0, 2.0, 4.0, 4.5)
    assert np.array(axis.densities(shares)) * widths / axis.length == pytest.approx(shares)


def test_one_outlier_does_not_flatten_the_chart():
    axis = bin_axis((1.0, 2.0, 3.0), 0.0, 1_000_000.0)
    assert axis.edges[-1] < 4
    assert axis.high == 1_000_000.0
    assert axis.low is None or axis.edges[0] > 0


def test_an_outer_bin_of_a_single_value_has_a_width():
    axis = bin_axis((0.0, 1.0, 2.0), 0.0, 3.0)
    assert axis.edges[0] < 0
    assert all(math.isfinite(density) for density in axis.densities([0.25] * 4))


@pytest.mark.parametrize("extremes", [(None, None), (7.0, 7.0), (3.0, 9.0), (7.0, None)])
def test_a_single_bound_is_enough_for_an_axis(extremes):
    axis = bin_axis((7.0,), *extremes)
    assert axis.edges[0] < axis.edges[1] < axis.edges[2]
    assert all(0 <= axis.at(value) <= 1 for value in axis.ticks())


def test_values_over_orders_of_magnitude_are_on_a_logarithmic_axis():
    axis = bin_axis((1.0, 10.0, 1000.0), 0.5, 4000.0)
    assert axis.is_log
    assert axis.ticks() == [1, 10, 100, 1000]
    assert axis.at(10) - axis.at(1) == pytest.approx(axis.at(100) - axis.at(10))
    assert not bin_axis((0.0, 10.0, 1000.0), 0.0, 4000.0).is_log


def test_ticks_are_round_values_inside():
    assert round_values(17.3, 92.0, 5) == [20, 40, 60, 80]
    assert round_values(0.0, 0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert round_values(5.0, 5.0, 4) == [5.0]


def test_labels_of_ticks_have_the_digits_in_which_they_differ():
    assert digits([20, 40, 60]) == 4
    assert digits([99_999.5, 100_000, 100_000.5]) == 7
    assert digits([0.999e12, 1e12, 1.001e12]) == 5
    assert digits([5.0]) == 4


def test_ticks_of_a_day_are_full_hours_and_those_of_a_month_days():
    day, step = time_ticks(1_796_018_400.0 - 86_400, 1_796_018_400.0, 4)
    assert step == 6 * 3600
    assert all(at % (6 * 3600) == 0 for at in day)
    assert len(day) <= 4
    month, step = time_ticks(1_796_018_400.0 - 30 * 86_400, 1_796_018_400.0, 5)
    assert step == 7 * 86_400
    assert all(at % 86_400 == 0 for at in month)
