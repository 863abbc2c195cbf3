"""What an undo goes back to, and when there is nothing to undo."""

from __future__ import annotations

import pytest

from lading.errors import StaleRelease, UsageError, VersionNotFound
from lading.release import EventDraft, Release, changed, link
from lading.release.undo import rollback_target, rollbacks
from support.releases import AT, CANARY, LATER, canary, released

FIRST = released(1)
PROMOTED = changed(canary(), {"state": "live"}, LATER)
BACK = released(1, before=PROMOTED)


def ended(before: Release, state: str) -> Release:
    return changed(released(3, CANARY, before), {"state": state}, LATER)


def test_an_undo_returns_to_the_version_that_was_live_before():
    assert rollback_target("iris", [PROMOTED, FIRST]) == 1
    assert rollback_target("iris", [PROMOTED, FIRST], number=2) == 1
    assert rollback_target("iris", [BACK, PROMOTED, FIRST]) == 2
    again = released(1, before=BACK)
    assert rollback_target("iris", [again, BACK, PROMOTED, FIRST]) == 2, "it replaced itself"


@pytest.mark.parametrize("history", [[], [FIRST], [changed(PROMOTED, {"state": "rolled_back"}, LATER)]])
def test_without_an_earlier_live_version_there_is_nothing_to_go_back_to(history):
    with pytest.raises(VersionNotFound, match="a version that was live before"):
        rollback_target("iris", history)


@pytest.mark.parametrize("state", ["rolled_back", "refused"])
def test_a_release_that_did_not_go_live_is_not_undone_in_place_of_the_one_before(state):
    history = [ended(PROMOTED, state), PROMOTED, FIRST]
    with pytest.raises(UsageError, match="`iris:2` has stayed live") as caught:
        rollback_target("iris", history)
    assert "--release 2" in caught.value.hint
    assert rollback_target("iris", history, number=2) == 1


@pytest.mark.parametrize("number", [None, 2])
def test_a_candidate_on_its_way_is_aborted_and_not_undone(number):
    with pytest.raises(UsageError, match="`iris:2` still on its way") as caught:
        rollback_target("iris", [canary(), FIRST], number=number)
    assert "`lading rollout abort iris --release 2`" in caught.value.hint


@pytest.mark.parametrize("number", [None, 3])
def test_a_rollback_is_not_undone(number):
    with pytest.raises(UsageError, match="release 3, the rollback to `iris:1`"):
        rollback_target("iris", [BACK, PROMOTED, FIRST], {3}, number=number)


@pytest.mark.parametrize(
    "history", [[BACK, PROMOTED, FIRST], [released(3, CANARY, PROMOTED), PROMOTED, FIRST]]
)
def test_a_release_that_is_no_longer_the_last_is_not_undone(history):
    with pytest.raises(StaleRelease, match="release 1 of `iris`"):
        rollback_target("iris", history, number=1)


def test_a_canary_that_was_rolled_back_is_no_rollback():
    drafts = [(1, "released"), (2, "released"), (2, "rolled_back"), (3, "rolled_back"), (3, "ready")]
    releases = {1: FIRST, 2: canary(), 3: BACK}
    events, last = [], None
    for number, kind in drafts:
        last = link(last, releases[number], EventDraft(kind=kind, actor="ann"), at=AT, digest="")
        events.append(last)
    assert rollbacks(events) == {3}
