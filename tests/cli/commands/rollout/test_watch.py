"""Watching a release from the command line."""

from __future__ import annotations

import json
import re

import pytest

from lading.cli.ui import watch
from lading.rollout import apply, promoted, rolled_back
from support.terminal import on_a_terminal


def promote(registry) -> None:
    current = registry.releases.current("iris")
    apply(registry, current, promoted(current, "ada", ""))


def test_watching_into_a_pipe_writes_a_line_per_change_and_ends_with_the_release(lading, proved, monkeypatch):
    lading("release", "iris:1")
    lading("release", "iris:2", "--canary", "5,100")
    monkeypatch.setattr(watch, "pause", lambda: promote(proved))
    code, stdout, stderr = lading("rollout", "watch", "iris")
    assert code == 0
    lines = stdout.splitlines()
    assert any("step 1 of 2, 5 % to iris:2" in line for line in lines)
    assert any("step 2 of 2, 100 % to iris:2" in line for line in lines)
    assert "ended: `iris:2` is live" in stderr


def test_watching_ends_with_1_if_the_version_did_not_become_live(lading, proved, monkeypatch):
    lading("release", "iris:1")
    lading("release", "iris:2", "--shadow")
    current = proved.releases.current("iris")
    move = rolled_back(current, "driver", "harm")
    roll_back = lambda: proved.releases.change(current, event=move.event, **move.changes)  # noqa: E731
    monkeypatch.setattr(watch, "pause", roll_back)
    code, stdout, stderr = lading("rollout", "watch", "iris", "--json")
    assert code == 1
    states = [json.loads(line)["release"]["state"] for line in stdout.splitlines()]
    assert states == ["running", "rolled_back"]
    assert "ended: rolled back, `iris:1` is live: harm" in stderr


@pytest.mark.slow
def test_watching_on_a_terminal_shows_both_sides_and_the_verdict(lading, proved):
    lading("release", "iris:1")
    lading("release", "iris:2", "--canary", "5,100")
    lading("rollout", "promote", "iris", "--release", "2", "--to", "100")
    once_shown = ("verdict so far", lambda: promote(proved))
    output = on_a_terminal("rollout", "watch", "iris", once_shown=once_shown)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    assert "live iris:1" in plain
    assert "candidate iris:2" in plain
    assert "verdict so far: hold" in plain
    assert "ended: `iris:2` is live" in plain


def test_with_once_the_release_is_shown_once(lading, proved):
    lading("release", "iris:1")
    lading("release", "iris:2", "--canary")
    code, stdout, _ = lading("rollout", "watch", "iris", "--once")
    assert code == 0
    assert stdout.count("verdict so far") == 1
