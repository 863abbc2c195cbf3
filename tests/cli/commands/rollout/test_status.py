"""The state of releases."""

from __future__ import annotations

import json
import re
import time

from support.simulated_traffic import EQUAL, Crowd


def test_status_lists_all_releases_or_shows_one_with_its_numbers(lading, proved):
    assert lading("rollout", "status")[:2] == (0, "")
    lading("release", "iris:1", "--actor", "ada")
    assert lading("rollout", "status", "iris")[1] == "iris, release 1 is live: straight to live, by ada\n"
    lading("release", "iris:2", "--ab")
    Crowd(proved).second(proved.releases.current("iris"), time.time(), EQUAL, EQUAL)
    assert "iris:2" in lading("rollout", "status")[1]
    _, stdout, stderr = lading("rollout", "status", "iris")
    assert stdout.splitlines()[0].startswith("iris, release 2: A/B by ")
    assert re.search(r"^ +live iris:1 +candidate iris:2$", stdout, re.MULTILINE)
    assert re.search(r"^latency p99 +\d", stdout, re.MULTILINE)
    assert re.search(r"^answered setosa +\d", stdout, re.MULTILINE)
    assert "verdict so far: hold" in stdout
    assert "no process drives it" in stderr
    snapshot = json.loads(lading("rollout", "status", "iris", "--json")[1])
    assert snapshot["live"]["requests"] + snapshot["candidate"]["requests"] == 400
    assert snapshot["verdict"]["action"] == "hold"


def test_status_shows_a_release_that_another_one_has_followed(lading, proved):
    lading("release", "iris:1", "--actor", "ada")
    lading("release", "iris:2", "--actor", "grace")
    assert "release 1 is live" in lading("rollout", "status", "iris", "--release", "1")[1]
    snapshot = json.loads(lading("rollout", "status", "iris", "--release", "1", "--json")[1])
    assert (snapshot["release"]["actor"], snapshot["candidate"]) == ("ada", None)
    current = json.loads(lading("rollout", "status", "iris", "--release", "2", "--json")[1])
    assert current["release"]["actor"] == "grace"
    code, _, stderr = lading("rollout", "status", "iris", "--release", "3")
    assert (code, stderr.splitlines()[0]) == (
        3,
        "error: release 3 of `iris`: expected one of 1 to 2, found none",
    )
    code, _, stderr = lading("rollout", "status", "--release", "3")
    assert (code, stderr.splitlines()[0]) == (2, "error: expected a NAME beside `--release`")
