"""Verifying an image from the command line, without a container engine."""

from __future__ import annotations

import json

import pytest

from support.images import tiny_base


@pytest.mark.slow
def test_the_evidence_of_an_image_is_recorded_for_its_version(lading, opened, tmp_path, monkeypatch):
    to = f"oci:{tmp_path / 'out'}:iris"
    lading("image", "build", "iris:1", "--base", tiny_base(tmp_path / "base"), "--to", to)
    monkeypatch.setenv("PATH", str(tmp_path))
    code, stdout, stderr = lading("image", "verify", to, "--against", "iris:1", "--json")
    assert code == 0, stderr
    checks = {check["name"]: check["outcome"] for check in json.loads(stdout)["evidence"]["checks"]}
    assert (checks["bundle"], checks["equivalence"]) == ("passed", "passed")
    assert "no podman or docker here can run it" in stderr
    assert "`iris` answers the same from the image and as a pulled bundle, on this machine" in stderr
    assert len(opened.evidence()) == 1
