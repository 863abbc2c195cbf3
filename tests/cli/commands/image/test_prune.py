"""Pruning a repository from the command line."""

from __future__ import annotations

import json

from support.images import tiny_base


def test_images_of_unneeded_versions_are_removed_and_a_dry_run_removes_none(
    lading, filled, tmp_path, oci_server
):
    place = f"{oci_server.address}/cli/pruned"
    base = tiny_base(tmp_path / "base")
    for number in (1, 2):
        to = f"{place}:{number}"
        assert lading("image", "build", f"iris:{number}", "--base", base, "--to", to)[0] == 0
    code, stdout, stderr = lading("image", "prune", place, "--keep", "1", "--dry-run")
    assert code == 0
    assert [line.split()[:2] for line in stdout.splitlines()[1:]] == [["remove", "1"], ["keep", "2"]]
    assert stderr == "1 would be removed, 1 kept\n"
    pruned = json.loads(lading("image", "prune", place, "--keep", "1", "--json")[1])
    assert [image["tags"] for image in pruned["removed"]] == [["1"]]
    assert pruned["kept"][0]["kept_by"] == ["one of the last 1 versions"]
