"""Moving and removing tags."""

from __future__ import annotations

import json

from support.bundles import linear_bundle


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
    assert stderr == "`iris:stable` is removed; it was `iris:1`\n"


def test_a_bare_name_is_not_tagged_because_what_it_means_changes(lading, filled):
    code, _, stderr = lading("tag", "iris", "stable")
    assert code == 2
    assert "tag `stable` of `iris`: expected a version, as in `iris:2`, found none" in stderr


def test_a_tag_that_moves_says_where_it_was_and_what_callers_may_notice(lading, opened, tmp_path):
    assert lading("tag", "iris:1", "good")[2] == "`iris:good` is now `iris:1`\n"
    assert lading("tag", "iris:1", "good")[2] == "`iris:good` is `iris:1` already\n"
    assert lading("tag", "iris:2", "good")[2] == "`iris:good` is now `iris:2`; it was `iris:1`\n"
    linear_bundle(tmp_path / "narrow", features=3)
    stderr = lading("push", tmp_path / "narrow", "--tag", "good")[2]
    assert "`iris:good` is now `iris:3`; it was `iris:2`\n" in stderr
    assert "warning: callers of `iris:good` may notice it: differs from `iris:2`: input `X`, shape" in stderr
    opened.store.delete(opened.resolve("iris:3").blob)
    assert "not compared with `iris:3`" in lading("tag", "iris:1", "good")[2]
