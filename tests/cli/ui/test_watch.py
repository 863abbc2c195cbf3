"""Watching a release: what each look yields, and a registry that becomes unreachable meanwhile."""

from __future__ import annotations

import pytest

from lading.cli.ui import watch
from lading.errors import RegistryUnavailable, VersionNotFound
from lading.release import Plan
from lading.rollout import apply, paused, promoted


@pytest.fixture
def running(proved):
    proved.releases.begin("iris", 1, Plan(mode="live"), actor="ada")
    proved.releases.begin("iris", 2, Plan(mode="canary", steps=(5, 100)), actor="ada")
    return proved


def follow(registry, monkeypatch, capsys, *moves):
    """Watch the release while each pause makes the next move; return how it ended and the lines."""
    pending = list(moves)

    def next_move() -> None:
        pending.pop(0)()

    monkeypatch.setattr(watch, "pause", next_move)
    ended = watch.watch_until_end(registry, watch.current_snapshot(registry, "iris"), as_json=False)
    assert pending == []
    return ended, capsys.readouterr().out.splitlines()


def test_a_line_is_printed_per_change_and_none_while_nothing_changes(running, monkeypatch, capsys):
    def move(decide):
        current = running.releases.current("iris")
        apply(running, current, decide(current, "ada", ""))

    nothing = lambda: None  # noqa: E731
    moves = (nothing, lambda: move(promoted), nothing, lambda: move(promoted))
    ended, lines = follow(running, monkeypatch, capsys, *moves)
    assert ended.state == "live"
    assert len(lines) == 3
    assert "step 2 of 2" in lines[1]


def test_a_superseded_release_ends_the_watch(running, monkeypatch, capsys):
    def supersede():
        running.releases.begin("iris", 1, Plan(mode="live"), actor="grace")

    ended, lines = follow(running, monkeypatch, capsys, supersede)
    assert ended.state == "superseded"
    assert len(lines) == 1


def test_watching_continues_while_the_registry_is_unreachable(running, monkeypatch, capsys):
    current = running.releases.current

    def unreachable(name):
        raise RegistryUnavailable("registry")

    def pause_release():
        monkeypatch.setattr(running.releases, "current", current)
        release = running.releases.current("iris")
        apply(running, release, paused(release, "ada", "lunch"))

    def promote_to_the_end():
        for _ in range(2):
            release = running.releases.current("iris")
            apply(running, release, promoted(release, "ada", ""))

    moves = (
        lambda: monkeypatch.setattr(running.releases, "current", unreachable),
        pause_release,
        promote_to_the_end,
    )
    ended, lines = follow(running, monkeypatch, capsys, *moves)
    assert ended.state == "live"
    assert ["paused" in line for line in lines] == [False, True, False]


def test_a_model_that_was_never_released_cannot_be_watched(proved):
    with pytest.raises(VersionNotFound, match="expected at least one, found none"):
        watch.current_snapshot(proved, "iris")
