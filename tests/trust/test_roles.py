"""Roles that different people must fill."""

from __future__ import annotations

import pytest

from lading.trust.roles import assignment


@pytest.mark.parametrize(
    ("holders", "assigned"),
    [
        ({}, {}),
        ({"packer": ["ci"]}, {"packer": "ci"}),
        ({"packer": []}, None),
        ({"packer": ["ann"], "approver": ["ann"]}, None),
        # The first choice for one role would leave none for the next.
        ({"packer": ["ann", "ci"], "approver": ["ann"]}, {"packer": "ci", "approver": "ann"}),
        (
            {"packer": ["a", "b", "c"], "approver": ["a", "b"], "releaser": ["a"]},
            {"packer": "c", "approver": "b", "releaser": "a"},
        ),
        ({"packer": ["a", "b"], "approver": ["a", "b"], "releaser": ["a", "b"]}, None),
    ],
)
def test_each_role_has_a_holder_of_its_own_wherever_that_is_possible(holders, assigned):
    assert assignment(holders) == assigned


def test_the_choice_does_not_depend_on_the_order_in_which_holders_are_listed():
    names = ["ci", "ann", "bob"]
    assert assignment({"packer": names}) == assignment({"packer": names[::-1]}) == {"packer": "ann"}
