"""Promoting a release by hand, among the other moves by hand."""

from __future__ import annotations

import json


def test_a_release_is_paused_resumed_and_promoted_by_hand(lading, proved):
    lading("release", "iris:1")
    lading("release", "iris:2", "--canary", "5,100")
    assert "is paused" in lading("rollout", "pause", "iris", "--reason", "lunch")[2]
    assert lading("rollout", "pause", "iris")[0] == 2
    assert "is running" in lading("rollout", "resume", "iris", "--actor", "grace")[2]
    assert "100 % to iris:2" in lading("rollout", "promote", "iris")[2]
    code, stdout, stderr = lading("rollout", "promote", "iris", "--json")
    assert code == 0
    assert json.loads(stdout)["release"]["state"] == "live"
    assert "`iris:2` is live" in stderr
    events = proved.releases.events("iris")
    assert [event.kind for event in events[2:]] == ["paused", "resumed", "step", "promoted"]
    assert (events[2].reason, events[3].actor, events[4].reason) == ("lunch", "grace", "by hand")
    assert lading("rollout", "promote", "iris")[0] == 2


def test_a_shadow_goes_live_when_it_is_promoted(lading, proved):
    lading("release", "iris:1")
    lading("release", "iris:2", "--shadow")
    code, _, stderr = lading("rollout", "promote", "iris", "--reason", "answers agree")
    assert code == 0
    assert "ended: `iris:2` is live: answers agree" in stderr
