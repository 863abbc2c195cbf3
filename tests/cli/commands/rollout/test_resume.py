"""Resuming a paused release."""

from __future__ import annotations


def test_a_resumed_release_continues_at_its_step(lading, proved):
    lading("release", "iris:1")
    lading("release", "iris:2", "--canary", "5,50,100")
    lading("rollout", "promote", "iris", "--release", "2", "--to", "50")
    lading("rollout", "pause", "iris")
    code, _, stderr = lading("rollout", "resume", "iris", "--actor", "grace")
    assert code == 0
    assert "release 2 of `iris` is running: step 2 of 3, 50 % to iris:2" in stderr
    assert proved.releases.events("iris")[-1].actor == "grace"


def test_a_release_that_has_ended_cannot_be_resumed(lading, proved):
    lading("release", "iris:1")
    assert lading("rollout", "resume", "iris")[0] == 2
