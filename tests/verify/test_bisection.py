from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.verify.bisection import smallest_set

NAMES = frozenset("abcdefghijklmnop")


class Judge:
    """Says that all of `causes` together differ; sets of which `is_possible` is false cannot be tried."""

    def __init__(self, causes, is_possible=lambda _: True):
        self.causes, self.is_possible = frozenset(causes), is_possible
        self.asked = []

    def __call__(self, names):
        self.asked.append(names)
        if not self.is_possible(names):
            return "unknown"
        return "differs" if self.causes <= names else "same"


@pytest.mark.parametrize("cause", sorted(NAMES))
def test_a_single_cause_is_named_after_few_trials(cause):
    judge = Judge(cause)
    assert smallest_set(NAMES, judge) == {cause}
    assert len(judge.asked) <= 2 * math.log2(len(NAMES))


@given(causes=st.sets(st.sampled_from(sorted(NAMES)), min_size=1, max_size=4))
def test_several_that_only_differ_together_are_all_named_and_no_set_is_tried_twice(causes):
    judge = Judge(causes)
    assert smallest_set(NAMES, judge) == causes
    assert len(judge.asked) == len(set(judge.asked))
    assert frozenset() not in judge.asked
    assert NAMES not in judge.asked


def test_of_two_causes_of_their_own_one_is_named():
    judge = Judge("")
    smallest = smallest_set(NAMES, lambda names: "differs" if names & {"c", "n"} else judge(names) and "same")
    assert smallest in ({"c"}, {"n"})


def test_one_that_cannot_be_tried_without_another_is_named_with_it():
    judge = Judge("c", is_possible=lambda names: "c" not in names or "k" in names)
    assert smallest_set(NAMES, judge) == {"c", "k"}


def test_a_single_change_is_the_cause_without_a_trial():
    judge = Judge("a")
    assert smallest_set(frozenset("a"), judge) == {"a"}
    assert judge.asked == []
