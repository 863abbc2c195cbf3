from __future__ import annotations

import re
from xml.etree import ElementTree

from lading.monitor.report import sections
from lading.monitor.status import CheckCount, MetricStatus
from support.model_statuses import HOUR, SINCE, alarm, credit_status, small_status


def text_of(markup):
    return re.sub(r"\s+", " ", " ".join(ElementTree.fromstring(f"<p>{markup}</p>").itertext()))


def table_rows(markup):
    tree = ElementTree.fromstring(markup)
    return [["".join(cell.itertext()) for cell in row] for row in tree.find("table").find("tbody")]


def test_what_changed_is_listed_in_the_order_in_which_it_began():
    items = list(ElementTree.fromstring(sections.order_of_changes(credit_status(), {})).find("ol"))
    texts = ["".join(item.itertext()) for item in items]
    assert [text.split(":")[1][2:] for text in texts[:3]] == [
        "age",
        "purpose",
        "probabilities[repaid]",
    ]
    assert texts[7].startswith("29 Nov 22:10accuracy: 88.1")
    assert sections.order_of_changes(small_status(), {}) == ""


def test_a_finding_of_another_release_names_it():
    alarms = (alarm("drift", "a", "`a` higher", release=6), alarm("drift", "b", "`b` higher", release=2))
    text = text_of(sections.order_of_changes(small_status(alarms=alarms), {}))
    assert "(release 6)" in text
    assert "(release 2)" not in text


def test_open_alarms_come_first_and_each_says_whether_it_has_ended():
    alarms = (
        alarm("input-checks", "age", "41 rows failed", hour=1, ended_at=SINCE + 2 * HOUR),
        alarm("drift", "income", "`income` lower", hour=6),
        alarm("drift", "age", "higher", hour=5, acknowledged_by="maria"),
    )
    rows = table_rows(sections.alarm_section(small_status(alarms=alarms)))
    assert [row[0].split("raised")[0] for row in rows] == [
        "▲ drift: agehigher",
        "▲ drift: incomelower",
        "input checks: age41 rows failed",
    ]
    assert "acknowledged by maria" in rows[0][0]
    assert [row[2] for row in rows] == ["ongoing", "ongoing", "29\u00a0Nov 08:00"]


def test_input_checks_have_their_share_of_all_rows_and_the_most_frequent_is_first():
    checks = (
        CheckCount(column="a", rule="range", failures=2),
        CheckCount(column="b", rule="set", failures=40),
    )
    rows = table_rows(sections.check_section(small_status(checks=checks, rows=100, seen=200)))
    assert rows == [["b", "set", "40", "20 %"], ["a", "range", "2", "1.0 %"]]
    many = tuple(CheckCount(column=f"c{at}", rule="range", failures=at) for at in range(60))
    assert "10 more, with fewer failures." in text_of(sections.check_section(small_status(checks=many)))


def test_accuracy_without_any_label_is_not_a_number():
    bare = MetricStatus(kind="accuracy", value=0.0, lower=0.0, upper=1.0, rows=500, labelled=0)
    text = text_of(sections.metric_section(small_status(metrics=(bare,))))
    assert "Nothing is known: none of 500 rows has a label by now." in text
    assert "0.0" not in text


def test_a_slice_without_labels_is_in_the_table_and_not_in_the_chart():
    slices = tuple(
        MetricStatus(kind="accuracy", slice=name, value=0.9, lower=0.8, upper=1.0, rows=50, labelled=labelled)
        for name, labelled in (("city = Oslo", 50), ("city = Rome", 0))
    )
    section = ElementTree.fromstring(sections.metric_section(small_status(metrics=slices)))
    image = next(section.iter("svg"))
    assert "city = Oslo" in [element.text for element in image.iter("text")]
    assert "city = Rome" not in [element.text for element in image.iter("text")]
    assert "nothing known" in text_of(sections.metric_section(small_status(metrics=slices)))
