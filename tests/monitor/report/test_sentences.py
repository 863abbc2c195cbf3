from __future__ import annotations

import math

import pytest

from lading.monitor.report import sentences
from lading.monitor.report.sentences import plain
from lading.monitor.status import MetricStatus
from support.model_statuses import HOUR, SINCE, alarm, column, credit_status, small_status


def text_of(status):
    return " ".join(plain(sentence) for sentence in sentences.verdict(status))


def drifted(name, hour, change="higher by 0.4 standard deviations", **changes):
    return column(name, is_alarming=True, began_at=SINCE + hour * HOUR, change=change, log_e=30.0, **changes)


def test_the_verdict_says_how_many_columns_drifted_since_when_and_what_changed_first():
    status = small_status(drifted("income", 8, "lower"), drifted("age", 5), column("z"), release=7)
    assert text_of(status) == (
        "2 of 3 columns have drifted since 2026-11-29 11:00 UTC (release 7). "
        "`age` changed first: higher by 0.4 standard deviations."
    )


def test_a_single_column_that_drifted_is_named():
    assert text_of(small_status(drifted("age", 5), column("z"), release=0)) == (
        "1 of 2 columns has drifted since 2026-11-29 11:00 UTC. `age`: higher by 0.4 standard deviations."
    )


def test_columns_that_changed_in_the_same_window_both_changed_first():
    status = small_status(drifted("age", 5), drifted("income", 5, "lower"), drifted("z", 6))
    assert "`age` (higher by 0.4 standard deviations) and `income` (lower) changed first" in text_of(status)
    many = small_status(*(drifted(f"x{at}", 5) for at in range(9)))
    assert "`x0`, `x1`, `x2` and 6 more changed first, at the same time." in text_of(many)


def test_what_changed_first_may_be_accuracy():
    decay = alarm("decay", "accuracy", "fell", hour=2)
    low = MetricStatus(
        kind="accuracy",
        value=0.8,
        lower=0.78,
        upper=0.82,
        rows=900,
        labelled=700,
        reference=0.9,
        is_alarming=True,
    )
    status = small_status(drifted("age", 5), metrics=(low,), alarms=(decay,))
    assert "Accuracy changed first." in text_of(status)
    assert "Accuracy is 80.0 % (95 % interval 78.0–82.0 %); 90.0 % on the reference." in text_of(status)


def test_nothing_alarms_is_said_only_of_columns_that_were_tested():
    assert text_of(small_status()) == "Nothing alarms."
    assert text_of(small_status(column(log_e=None))) == (
        "No column has been tested, so it is not known whether any has drifted."
    )
    some = small_status(column("x"), column("y", log_e=None))
    assert text_of(some) == "Nothing alarms, but 1 of 2 columns has not been tested."


def test_a_column_that_changes_by_its_nature_need_not_be_tested():
    assert text_of(small_status(column("x"), column("at", is_tested=False, log_e=None))) == "Nothing alarms."


def test_columns_without_rows_are_unknown_and_not_fine():
    nothing = column("y", rows=0, live=(0,) * 6, psi=None, log_e=None)
    assert text_of(small_status(column("x"), nothing)) == (
        "Nothing alarms. Nothing is known of 1 of 2 columns."
    )
    assert text_of(small_status(nothing, rows=0)) == (
        "Nothing is known of this period: no live rows were counted."
    )


def test_without_a_profile_nothing_is_known():
    status = small_status(reference="", reference_rows=0)
    bare = credit_status(columns=(), metrics=(), alarms=(), reference="", rows=0)
    assert "no profile" in text_of(bare)
    assert "no profile" in sentences.comparison(status)
    assert any("no profile" in plain(sentence) for sentence in sentences.unknowns(bare))


def test_an_open_alarm_alone_makes_the_verdict():
    checks = alarm("input-checks", "age", "`age`: 41 of 900 rows failed the check `range`", hour=2)
    assert text_of(small_status(alarms=(checks,))) == (
        "`age`: 41 of 900 rows failed the check `range`. It began at 2026-11-29 08:10 UTC."
    )
    ended = small_status(alarms=(alarm("drift", "x", "higher", ended_at=SINCE + 9 * HOUR),))
    assert text_of(ended) == "Nothing alarms."


def test_an_alarm_of_missing_values_makes_its_column_alarm():
    status = small_status(column("x"), alarms=(alarm("missing", "x", "`x` missing in 9 % of the rows"),))
    assert "1 of 1 column has drifted" in text_of(status)
    assert "`x`: missing in 9 % of the rows." in text_of(status)


def test_an_open_alarm_about_a_metric_is_said_once():
    low = MetricStatus(kind="accuracy", value=0.8, lower=0.78, upper=0.82, rows=900, labelled=700)
    decay = alarm("decay", "", "accuracy over labelled rows: 91.4 % -> 80 %")
    status = small_status(metrics=(low,), alarms=(decay,))
    assert text_of(status).count("80") == 1
    assert "It began at 2026-11-29 15:10 UTC." in text_of(status)
    assert text_of(small_status(alarms=(decay,))).startswith("Accuracy over labelled rows: 91.4 % → 80 %.")


@pytest.mark.parametrize(
    ("log_e", "text"),
    [
        (-3.0, "No evidence of a change so far."),
        (math.log(8.5), "Weak evidence: at most 1 in 8 unchanged columns would ever show as much."),
        (math.log(3456), "Strong evidence: at most 1 in 3,000 unchanged columns would ever show as much."),
        (
            575.0,
            "Overwhelming evidence: fewer than 1 in a billion unchanged columns would ever show as much.",
        ),
        (None, "Not tested."),
    ],
)
def test_evidence_is_said_as_how_rarely_an_unchanged_column_shows_it(log_e, text):
    assert sentences.evidence(column(log_e=log_e)) == text


def test_accuracy_says_how_many_rows_have_labels_and_how_late_they_came():
    some = MetricStatus(
        kind="accuracy", value=0.9, lower=0.8, upper=1.0, rows=2000, labelled=50, delay_s=7800.0
    )
    assert sentences.metric_basis(some) == (
        "50 of 2,000 rows have a label by now; half of the labels came within 2 h 10 min of the answer."
    )
    none = MetricStatus(kind="accuracy", value=0.0, lower=0.0, upper=1.0, rows=2000, labelled=0)
    assert sentences.metric_basis(none).startswith("Nothing is known")


def test_golden_samples_are_said_to_be_a_weak_reference():
    status = small_status(reference="golden samples", reference_rows=8)
    assert "weak" in sentences.comparison(status)


def test_the_stated_rate_of_false_alarms_is_in_the_sentence_about_it():
    assert "at most 1 %, however often" in sentences.false_alarms(small_status())
    assert "at most 0.1 %, however often" in sentences.false_alarms(small_status(alpha=0.001))


def test_what_alarms_is_first_then_the_largest_psi_then_what_is_not_known():
    columns = [
        column("small", psi=0.01),
        column("unknown", rows=0, psi=None),
        column("time", psi=9.0, is_tested=False),
        column("large", psi=0.3),
        column("alarm", psi=0.05, is_alarming=True),
    ]
    order = [each.name for each in sentences.ranked(small_status(*columns), columns)]
    assert order == ["alarm", "large", "small", "time", "unknown"]


def test_names_in_backticks_are_names_and_stray_backticks_are_text():
    assert sentences.sentence_of("`age` rose") == ("age", " rose")
    assert isinstance(sentences.sentence_of("`age` rose")[0], sentences.Name)
    assert sentences.sentence_of("a ` b") == ("a ` b",)


def test_rows_that_were_not_counted_are_not_kept_quiet():
    lines = [plain(sentence) for sentence in sentences.unknowns(small_status(rows=100, seen=400))]
    assert lines == ["300 of 400 rows were not counted; those that were are a random share."]
