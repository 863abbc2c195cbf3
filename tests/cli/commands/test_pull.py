"""Pulling bundles, also into directories that exist."""

from __future__ import annotations

import json


def test_pulling_gives_the_same_bundle(lading, filled, bundle, tmp_path):
    code, stdout, _ = lading("pull", "iris:1", "--to", tmp_path / "pulled")
    assert (code, stdout) == (0, f"{tmp_path / 'pulled'}\n")
    assert json.loads(lading("inspect", tmp_path / "pulled", "--json")[1])["digest"] == bundle.digest


def test_pulling_again_into_the_same_directory_leaves_the_bundle_as_it_is(filled, lading, tmp_path):
    to = tmp_path / "iris"
    assert lading("pull", "iris:1", "--to", to)[0] == 0
    before = (to / "bundle.json").stat().st_mtime_ns
    code, stdout, _ = lading("pull", "iris:1", "--to", to)
    assert (code, stdout.strip()) == (0, str(to))
    assert (to / "bundle.json").stat().st_mtime_ns == before


def test_pulling_an_existing_digest_again_needs_no_registry(filled, lading, bundle, tmp_path, monkeypatch):
    """An init container that runs again finds the bundle and exits, even if the catalog is unreachable."""
    to, ref = tmp_path / "bundles" / "iris", f"iris@{bundle.digest}"
    assert lading("pull", ref, "--to", to)[0] == 0
    monkeypatch.setenv("LADING_REGISTRY", "postgresql://127.0.0.1:1/lading")
    monkeypatch.delenv("LADING_STORE", raising=False)
    assert lading("pull", ref, "--to", to)[:2] == (0, f"{to}\n")
    monkeypatch.setenv("LADING_STORE", str(tmp_path / "store"))
    assert lading("pull", f"rose@{bundle.digest}", "--to", to)[0] == 4
    (to / "model.onnx").write_bytes(b"damaged")
    assert lading("pull", ref, "--to", to)[0] == 4


def test_pulling_over_another_or_a_damaged_bundle_is_refused(filled, lading, tmp_path):
    to = tmp_path / "iris"
    assert lading("pull", "iris:1", "--to", to)[0] == 0
    assert lading("pull", "iris:2", "--to", to)[0] == 1
    (to / "model.onnx").write_bytes(b"other")
    assert lading("pull", "iris:1", "--to", to)[0] == 1
