from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from lading.monitor.report.distributions import WIDTH, distribution
from support.model_statuses import column, credit_status


def drawn(status):
    return ElementTree.fromstring(distribution(status, "A description.", id="a"))


def points(image, class_):
    """Return the points of the path of a class."""
    path = next(element for element in image.iter("path") if element.get("class") == class_)
    return [tuple(map(float, pair.split(","))) for pair in path.get("d").strip("MZ").split(" ")]


def areas(image, class_):
    """Return the areas under a step line, from step to step."""
    steps = points(image, class_)[1:-1]
    base = points(image, class_)[0][1]
    return [
        (right[0] - left[0]) * (base - left[1]) for left, right in zip(steps[::2], steps[1::2], strict=False)
    ]


def test_areas_of_reference_and_live_rows_are_their_shares():
    image = drawn(column(live=(0, 0, 10, 20, 30, 40)))
    before, now = areas(image, "reference"), areas(image, "live")
    assert [area / sum(before) for area in before] == pytest.approx([0.25] * 4, abs=0.01)
    assert [area / sum(now) for area in now] == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.01)
    assert sum(before) == pytest.approx(sum(now), rel=0.02)


def test_missing_values_are_bars_of_their_own():
    image = drawn(column(reference=(10, 0, 250, 250, 250, 240), live=(50, 0, 13, 12, 13, 12)))
    texts = [element.text for element in image.iter("text")]
    assert "1 % → 50 %" in [text.replace("1.0", "1") for text in texts if text]
    assert any("missing" in "".join(element.itertext()) for element in image.iter("text"))


def test_a_bin_that_is_too_high_is_cut_off_and_says_its_share():
    image = drawn(
        column(
            cells=("missing", "unseen", "≤ 1", "1 – 1.01", "1.01 – 4", "> 4"),
            bounds=(1.0, 1.01, 4.0),
            live=(0, 0, 2, 93, 3, 2),
        )
    )
    assert min(y for _, y in points(image, "live")) >= 0
    assert "93 %" in [element.text for element in image.iter("text")]


def test_each_category_has_a_bar_for_the_reference_and_one_for_live_rows():
    image = drawn(
        column(
            kind="category",
            bounds=(),
            cells=("missing", "unseen", "car", "home"),
            reference=(0, 0, 30, 70),
            live=(0, 0, 60, 40),
        )
    )
    bars = [
        (element.get("class"), float(element.get("width")))
        for element in image.iter("rect")
        if element.get("class") != "hit"
    ]
    assert [class_ for class_, _ in bars] == ["reference", "live-bar"] * 2
    assert bars[0][1] / bars[1][1] == pytest.approx(70 / 40, rel=0.01)


def test_times_are_dates_below_the_axis():
    status = next(each for each in credit_status().columns if each.kind == "timestamp")
    labels = [element.text for element in drawn(status).iter("text")]
    assert [label for label in labels if re.fullmatch(r"\d+ [A-Z][a-z]{2}", label or "")]


def test_a_long_label_is_cut_off_and_labels_do_not_overlap():
    name = "a category with a name that is far too long for a chart"
    image = drawn(
        column(
            kind="category", bounds=(), cells=("missing", "unseen", name), reference=(0, 0, 9), live=(0, 0, 9)
        )
    )
    label = next(element for element in image.iter("text"))
    assert len("".join(child for child in label.itertext()).split("live 100 %")[-1]) <= 15
    for status in credit_status().columns:
        if status.bounds and status.rows:
            _assert_apart(drawn(status))


def _assert_apart(image):
    below = [
        element
        for element in image.iter("text")
        if element.get("y") == "127" and element.get("x") is not None
    ]
    spans = []
    for element in below:
        width, x = 6.0 * len(element.text), float(element.get("x"))
        left = {"start": x, "middle": x - width / 2, "end": x - width}[element.get("text-anchor", "start")]
        spans.append((left, left + width))
    spans.sort()
    assert all(before[1] <= after[0] + 1 for before, after in pairwise(spans))
    assert all(left >= -2 and right <= WIDTH + 2 for left, right in spans)
