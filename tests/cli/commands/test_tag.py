"""Moving and removing tags."""

from __future__ import annotations

import json


def test_a_tag_is_moved_and_removed(lading, filled):
    assert lading("tag", "iris:2", "stable")[:2] == (0, "iris:2\n")
    assert json.loads(lading("show", "iris:stable", "--json")[1])["version"]["version"] == 2
    assert lading("tag", "iris", "stable", "--remove")[0] == 0
    assert lading("show", "iris:stable")[0] == 3
    assert lading("tag", "iris", "stable", "--remove")[0] == 3
    assert lading("tag", "iris:1", "stable", "--remove")[0] == 2
    code, _, stderr = lading("tag", "iris:1", "live")
    assert code == 2
    assert "release" in stderr


def test_with_json_a_removed_tag_is_named(lading, filled):
    _, stdout, stderr = lading("tag", "iris", "stable", "--remove", "--json")
    assert json.loads(stdout) == {"name": "iris", "tag": "stable", "removed": True}
    assert stderr == "`iris:stable` is removed\n"
