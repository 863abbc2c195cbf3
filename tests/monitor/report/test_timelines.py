from __future__ import annotations

from xml.etree import ElementTree

import msgspec
import pytest

from lading.monitor.report.timelines import metric_timeline, psi_timeline, slice_intervals
from lading.monitor.status import ColumnPoint, MetricPoint, MetricStatus
from support.model_statuses import HOUR, SINCE, UNTIL, column

PERIOD = (SINCE, UNTIL)


def point(hour, psi=0.05, rows=100):
    return ColumnPoint(at=SINCE + hour * HOUR, seconds=HOUR, rows=rows, psi=psi, missing_share=0.0)


def lines(markup, class_="live"):
    image = ElementTree.fromstring(markup)
    return [element for element in image.iter("path") if element.get("class") == class_]


def test_hours_without_rows_are_a_gap_in_the_line():
    history = (*map(point, (0, 1, 2, 5, 6)), point(7, rows=0), point(8), point(9))
    assert len(lines(psi_timeline(column(history=history), PERIOD, id="a"))) == 3


def test_a_part_between_gaps_is_a_dot():
    image = ElementTree.fromstring(psi_timeline(column(history=(point(3),)), PERIOD, id="a"))
    assert [element.tag for element in image.iter("circle")] == ["circle"]


def test_the_beginning_of_a_drift_is_marked_where_it_is():
    history = tuple(point(hour) for hour in range(24))
    marked = column(history=history, began_at=SINCE + 12 * HOUR)
    image = ElementTree.fromstring(psi_timeline(marked, PERIOD, id="a"))
    mark = next(element for element in image.iter("line") if element.get("class") == "mark")
    assert float(mark.get("x1")) == pytest.approx(170, abs=1)
    assert "began 29 Nov 18:00" in [element.text for element in image.iter("text")]


def test_a_drift_that_began_before_the_period_is_marked_at_its_start():
    image = ElementTree.fromstring(psi_timeline(column(began_at=SINCE - HOUR), PERIOD, id="a"))
    mark = next(element for element in image.iter("line") if element.get("class") == "mark")
    assert float(mark.get("x1")) == 8


def test_psi_of_unchanged_rows_looks_small():
    image = psi_timeline(column(history=tuple(point(hour, 0.01) for hour in range(24))), PERIOD, id="a")
    heights = [float(pair.split(",")[1]) for pair in lines(image)[0].get("d").strip("M").split(" ")]
    assert min(heights) > 50


def metric(**changes):
    history = tuple(
        MetricPoint(at=SINCE + hour * HOUR, seconds=HOUR, rows=50, value=0.9, lower=0.85, upper=0.95)
        for hour in range(24)
    )
    plain = MetricStatus(
        kind="accuracy", value=0.9, lower=0.88, upper=0.92, rows=1200, labelled=1200, history=history
    )
    return msgspec.structs.replace(plain, **changes)


def test_few_rows_have_a_higher_level_of_what_is_expected_without_drift():
    history = (
        *(point(hour, 0.02, rows=10_000) for hour in range(12)),
        *(point(hour, rows=20) for hour in range(12, 24)),
    )
    image = psi_timeline(column(history=history), PERIOD, id="a")
    area = [float(pair.split(",")[1]) for pair in lines(image, "expected")[0].get("d").strip("MZ").split(" ")]
    assert area[6] > 55
    assert area[-6] < 30


def test_a_metric_has_its_band_and_the_line_of_the_reference():
    image = metric_timeline(metric(reference=0.93), PERIOD, id="a")
    assert len(lines(image, "band")) == 1
    assert 'class="reference-line"' in image
    assert 'class="reference-line"' not in metric_timeline(metric(), PERIOD, id="a")


def test_a_metric_that_never_changes_has_an_axis():
    same = tuple(
        MetricPoint(at=SINCE, seconds=HOUR, rows=5, value=1.0, lower=1.0, upper=1.0) for _ in range(2)
    )
    assert "NaN" not in metric_timeline(metric(history=same), PERIOD, id="a")


def test_a_slice_that_alarms_is_marked_in_words_and_not_only_in_colour():
    image = slice_intervals(
        [metric(slice="city = Oslo"), metric(slice="city = Rome")], {"city = Oslo"}, id="a"
    )
    texts = [element.text for element in ElementTree.fromstring(image).iter("text")]
    assert "▲ city = Oslo" in texts
    assert "city = Rome" in texts
