"""Pausing a release."""

from __future__ import annotations


def test_a_paused_release_says_how_to_resume_it(lading, proved):
    lading("release", "iris:1")
    lading("release", "iris:2", "--canary", "5,100")
    code, stdout, stderr = lading("rollout", "pause", "iris", "--reason", "lunch")
    assert code == 0
    assert "paused" in stdout
    assert "release 2 of `iris` is paused: step 1 of 2, 5 % to iris:2" in stderr
    assert "nothing changes until `lading rollout resume iris`" in lading("rollout", "status", "iris")[2]


def test_a_release_that_has_ended_cannot_be_paused(lading, proved):
    lading("release", "iris:1")
    assert lading("rollout", "pause", "iris")[0] == 2
