"""Promoting a release by hand, among the other moves by hand."""

from __future__ import annotations

import json

import pytest


def test_a_release_is_paused_resumed_and_promoted_by_hand(lading, proved):
    lading("release", "iris:1")
    lading("release", "iris:2", "--canary", "5,100")
    assert "is paused" in lading("rollout", "pause", "iris", "--reason", "lunch")[2]
    assert "is running" in lading("rollout", "resume", "iris", "--actor", "grace")[2]
    step = ("rollout", "promote", "iris", "--release", "2", "--to")
    assert "100 % to iris:2" in lading(*step, "100")[2]
    code, stdout, stderr = lading(*step, "live", "--json")
    assert code == 0
    assert json.loads(stdout)["release"]["state"] == "live"
    assert "`iris:2` is live" in stderr
    events = proved.releases.events("iris")
    assert [event.kind for event in events[2:]] == ["paused", "resumed", "step", "promoted"]
    assert (events[2].reason, events[3].actor, events[4].reason) == ("lunch", "grace", "by hand")
    assert lading("rollout", "promote", "iris")[0] == 2


@pytest.mark.slow
@pytest.mark.parametrize("named", [(), ("--release", "2"), ("--to", "25")])
def test_a_promotion_that_does_not_say_which_step_is_meant_takes_none_and_says_how(lading, proved, named):
    lading("release", "iris:1")
    lading("release", "iris:2", "--canary", "5,25,100")
    for _ in range(2):
        code, stdout, stderr = lading("rollout", "promote", "iris", *named)
        assert (code, stdout) == (2, "")
        hint = "hint: `lading rollout promote iris --release 2 --to 25` takes `iris:2` from 5 % to 25 %"
        assert hint in stderr
    assert proved.releases.current("iris").step == 0


def test_a_step_of_a_release_that_took_the_place_of_the_one_meant_is_not_taken(lading, proved):
    lading("release", "iris:1")
    lading("release", "iris:2", "--canary", "5,25,100")
    lading("release", "iris:2", "--canary", "5,25,50,100")
    assert lading("rollout", "promote", "iris", "--release", "2", "--to", "25")[0] == 1
    assert proved.releases.current("iris").step == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "kind"),
    [("pause", "paused"), ("resume", "resumed"), ("abort", "rolled_back")],
)
def test_a_command_that_is_sent_twice_does_its_work_once(lading, proved, command, kind):
    lading("release", "iris:1")
    lading("release", "iris:2", "--canary")
    if command == "resume":
        lading("rollout", "pause", "iris")
    for _ in range(2):
        code, stdout, stderr = lading("rollout", command, "iris", "--release", "2", "--json")
        assert code == 0
        assert json.loads(stdout)["release"]["number"] == 2
    assert stderr.endswith("nothing was changed\n")
    assert [event.kind for event in proved.releases.events("iris")].count(kind) == 1


def test_a_shadow_goes_live_when_it_is_promoted(lading, proved):
    lading("release", "iris:1")
    lading("release", "iris:2", "--shadow")
    named = ("--release", "2", "--to", "live")
    code, _, stderr = lading("rollout", "promote", "iris", *named, "--reason", "answers agree")
    assert code == 0
    assert "ended: `iris:2` is live: answers agree" in stderr


def test_a_promotion_that_is_sent_twice_takes_one_step(lading, proved):
    lading("release", "iris:1")
    lading("release", "iris:2", "--canary", "5,25,100")
    code, _, stderr = lading("rollout", "promote", "iris", "--release", "2", "--to", "100")
    assert code == 1
    assert "from 5 %: expected its next step, 25 %, found `--to 100`" in stderr
    for words in ("is running: step 2 of 3", "nothing was changed"):
        assert words in lading("rollout", "promote", "iris", "--release", "2", "--to", "25%")[2]
    assert proved.releases.current("iris").step == 1
    step = ("rollout", "promote", "iris", "--release", "2", "--to")
    lading(*step, "100")
    assert lading(*step, "live")[0] == 0
    assert "nothing was changed" in lading(*step, "live")[2]
    assert lading("rollout", "promote", "iris", "--to", "0.5")[0] == 2


@pytest.mark.slow
@pytest.mark.parametrize("command", ["promote", "pause", "resume", "abort"])
def test_a_move_by_hand_that_names_another_release_is_refused(lading, proved, command):
    lading("release", "iris:1")
    lading("release", "iris:2", "--canary")
    code, stdout, stderr = lading("rollout", command, "iris", "--release", "1")
    assert (code, stdout) == (1, "")
    assert "release 1 of `iris`: expected it to be the last, found release 2, `iris:2` on its way" in stderr
    assert proved.releases.current("iris").epoch == 1
