"""Freeing the space of versions that were removed."""

from __future__ import annotations

import json


def test_the_blob_of_a_removed_version_is_collected_and_others_are_kept(lading, filled, bundle):
    assert lading("remove", "iris:2")[0] == 0
    report = json.loads(lading("gc", "--dry-run", "--older-than-s", "0", "--json")[1])
    assert report["dry_run"] is True
    assert [item["kind"] for item in report["removed"]] == ["blob"]
    code, stdout, stderr = lading("gc", "--older-than-s", "0")
    assert code == 0
    assert "blob" in stdout
    assert "kept 1" in stderr
    assert lading("pull", "iris:1", "--to", "back")[0] == 0


def test_a_dry_run_says_what_it_would_remove_and_removes_nothing(lading, filled):
    lading("remove", "iris:2")
    for _ in range(2):
        stderr = lading("gc", "--dry-run", "--older-than-s", "0")[2]
        assert stderr.startswith("would remove 1, kept 1, ")
        assert stderr.endswith(" to free\n")
