"""Freeing the space of versions that were removed."""

from __future__ import annotations

import json
import os
import sys

import pytest

from lading.runtime.python.environments import EnvironmentStore
from support.moving_packages import moving_bundle
from support.tiny_wheels import tiny_lock


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


@pytest.mark.slow
def test_environments_beyond_the_limit_are_removed_with_the_reason_and_never_one_in_use(
    lading, opened, tmp_path, monkeypatch
):
    monkeypatch.setenv("LADING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LADING_ENVIRONMENTS_MAX_BYTES", "0")
    bundle = moving_bundle(tmp_path / "doubled", tmp_path / "wheels")
    opened.push(bundle)
    assert lading("verify", "doubled:1")[0] == 1  # It may not run, but is in the cache now.
    store = EnvironmentStore(tmp_path / "cache" / "environments")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    used = store.get(bundle.lock(), python, wheels=tmp_path / "wheels")
    other = store.get(tiny_lock(tmp_path / "wheels", "tiny-trees"), python, wheels=tmp_path / "wheels")
    other.release()
    os.utime(other.path, (0, 0))
    command = ("gc", "--older-than-s", "0", "--json")
    (first,) = json.loads(lading(*command, "--dry-run")[1])["removed"]
    assert (first["kind"], first["name"]) == ("environment", f"sha256:{other.path.name}")
    assert first["because"] == "all take over 0 B; last used 1970-01-01 00:00:00, by no bundle known here"
    assert other.path.exists()
    code, stdout, _ = lading("gc")
    assert (code, other.path.exists(), used.path.exists()) == (0, False, True)
    assert "last used 1970-01-01 00:00:00" in stdout
    used.release()
    (second,) = json.loads(lading(*command)[1])["removed"]
    assert second["because"].endswith(", by `doubled:1`")
    assert not used.path.exists()
