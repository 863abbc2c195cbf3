"""Rules, grants and callers: who may do what."""

from __future__ import annotations

import pytest

from lading.access import (
    ADMIN,
    FACTS,
    LOAD_ALL,
    OPEN,
    PREDICT,
    PREDICTION,
    READ,
    READ_ALL,
    RELEASE,
    Caller,
    Grant,
    may_at_all,
    roles_of,
)


def caller(*grants: Grant) -> Caller:
    return Caller("c", "key", grants)


def test_roles_imply_what_they_need():
    assert roles_of(("release",)) == RELEASE | READ
    assert roles_of(("admin",)) == ADMIN | RELEASE | PREDICT | READ
    assert roles_of(("predict",)) == PREDICT


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("iris", "iris", True),
        ("iris", "iris2", False),
        ("iris*", "iris2", True),
        ("iris*", "my-iris", False),
        ("*iris", "my-iris", True),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("a*a", "a", False),
        ("i.is", "iris", False),  # No sign but the star means anything else than itself.
        ("*", "", True),
        ("iris*", "", False),
        ("fraud*", "*", False),  # Who asks about all models has to be granted all.
    ],
)
def test_a_pattern_matches_whole_names(pattern, name, matches):
    assert caller(Grant(PREDICT, (pattern,))).may(PREDICTION, name) is matches


def test_grants_are_not_mixed_with_one_another():
    mixed = caller(Grant(READ, ("*",)), Grant(PREDICT, ("fraud",)))
    assert mixed.may(PREDICTION, "fraud")
    assert not mixed.may(PREDICTION, "iris")
    assert mixed.may(READ_ALL)
    assert mixed.may(FACTS, "iris")


def test_who_is_limited_to_models_sees_no_list_of_all():
    assert not caller(Grant(READ, ("iris", "fraud"))).may(READ_ALL)
    assert not caller(Grant(ADMIN | RELEASE, ("iris",))).may(LOAD_ALL)


def test_who_may_ask_some_model_is_admitted_before_it_is_known_which():
    limited = caller(Grant(PREDICT, ("iris",)))
    assert may_at_all(limited, PREDICTION)
    assert not may_at_all(limited, READ_ALL)
    assert may_at_all(caller(), OPEN)


def test_names_that_callers_invent_do_not_fill_the_memory():
    limited = caller(Grant(PREDICT, ("iris",)))
    for number in range(5000):
        assert not limited.may(PREDICTION, f"other-{number}")
    assert len(limited.known) <= 1024
    assert limited.may(PREDICTION, "iris")
