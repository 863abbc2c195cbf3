"""What may be done to a release as it stands, and what a form says of the page that it is from."""

from __future__ import annotations

import msgspec
import pytest

from lading.errors import UsageError
from lading.hub.views.act import Seen, act_page, blind_page, moves_since, next_step, possible_acts
from lading.release import EventDraft, changed, link
from support.releases import AT, CANARY, LATER, canary, released


def event(seq: int, kind: str):
    made = link(None, canary(), EventDraft(kind=kind, actor="ada"), at=AT, digest="")
    return msgspec.structs.replace(made, seq=seq)


def test_what_can_be_done_depends_on_how_the_release_stands():
    running = canary()
    assert possible_acts(running) == ["promote", "pause", "abort"]
    assert possible_acts(changed(running, {"state": "paused"}, LATER)) == ["promote", "resume", "abort"]
    assert possible_acts(changed(running, {"state": "live"}, LATER)) == ["rollback"]
    assert possible_acts(changed(running, {"state": "rolled_back"}, LATER)) == []
    # The first release of a model has nothing to go back to.
    assert possible_acts(released(1)) == []


def test_the_next_step_is_named_until_the_release_has_ended():
    release, steps = canary(), []
    for step in range(len(CANARY.steps)):
        steps.append(next_step(release))
        release = changed(release, {"step": min(step + 1, 2)}, LATER)
    assert steps == ["25", "100", "live"]
    assert next_step(changed(release, {"state": "live"}, LATER)) == ""


def test_what_a_form_names_is_what_its_page_displays():
    events = [event(7, "ready"), event(6, "step"), event(5, "paused")]
    before = Seen(release=2, change=1, event=5)
    page = act_page("promote", canary(), events, before, "", "")
    assert page.seen == Seen(release=2, change=1, event=7, to="25")
    assert [each.seq for each in page.meanwhile] == [6]
    assert page.possible
    assert not act_page("rollback", canary(), events, None, "", "").possible
    assert moves_since(events, 0) == events[1:]


def test_a_page_of_which_nothing_can_be_read_keeps_what_its_form_named():
    seen = Seen(release=2, change=1, event=7, to="25")
    page = blind_page("promote", "iris", seen)
    assert (page.release, page.seen, page.target, page.possible) == (None, seen, "25", True)


@pytest.mark.parametrize("text", ["", "-1", "1e3", "²", "٣", "1" * 10])
def test_a_form_without_its_numbers_is_refused(text):
    with pytest.raises(UsageError, match="`change`: expected a number"):
        Seen.of({"release": "2", "change": text, "event": "1"})
