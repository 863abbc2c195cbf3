"""Ratings from vectors and words, and limits on them."""

from __future__ import annotations

import pytest

from lading.trust.severity import exceeds, rating_of_score, rating_of_word, score_of_vector, worst


@pytest.mark.parametrize(
    ("vector", "score"),
    [
        # Examples of FIRST: https://www.first.org/cvss/v3.1/examples and …/v4.0/examples
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
        ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 6.4),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 7.5),
        ("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:N/A:N", 8.6),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", 9.3),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:L/VI:L/VA:N/SC:N/SI:N/SA:N", 6.9),
        ("AV:N/AC:L/Au:N/C:C/I:C/A:C", 10.0),
        ("CVSS:3.1/AV:N", None),
        ("CVSS:9.9/x", None),
        ("high", None),
    ],
)
def test_a_vector_has_the_score_of_its_standard(vector, score):
    assert score_of_vector(vector) == score


@pytest.mark.parametrize(
    ("score", "rating"),
    [
        (0, "none"),
        (0.1, "low"),
        (3.9, "low"),
        (4.0, "medium"),
        (7.0, "high"),
        (9.0, "critical"),
        (11, "unknown"),
    ],
)
def test_scores_have_the_ratings_of_the_standard(score, rating):
    assert rating_of_score(score) == rating


def test_words_of_other_databases_are_understood():
    assert [rating_of_word(word) for word in ("HIGH", "MODERATE", "Important", "unimportant", "?")] == [
        "high",
        "medium",
        "high",
        "low",
        "unknown",
    ]


def test_what_has_no_rating_is_above_every_limit_but_the_highest():
    assert [exceeds("unknown", limit) for limit in ("none", "low", "medium", "high", "critical")] == [
        True,
        True,
        True,
        True,
        False,
    ]
    assert exceeds("critical", "high")
    assert not exceeds("high", "high")


def test_the_worst_is_unknown_only_where_nothing_is_known():
    assert worst(["unknown", "low"]) == "low"
    assert worst(["unknown"]) == worst([]) == "unknown"
