"""``lading batch verify``: what people type, and what they read."""

from __future__ import annotations

import json

from support.bundles import linear_bundle


def test_a_check_against_the_bundle_scores_again(lading, tmp_path, rows):
    linear_bundle(tmp_path / "iris")
    out = tmp_path / "out"
    lading("batch", str(tmp_path / "iris"), "--input", str(rows), "--output", str(out))
    check = ("batch", "verify", str(out), "--model", str(tmp_path / "iris"), "--again", "2")
    code, _, notes = lading(*check, "--input", str(rows))
    assert code == 0
    assert "1 parts were scored again and have the same bytes" in notes
    assert lading(*check)[0] == 2


def test_a_check_says_what_it_did_not_look_at(lading, tmp_path, rows):
    linear_bundle(tmp_path / "iris")
    out = tmp_path / "out"
    lading("batch", str(tmp_path / "iris"), "--input", str(rows), "--output", str(out))
    code, printed, notes = lading("batch", "verify", str(out), "--json")
    assert code == 0
    assert json.loads(printed)["manifest"]["scored"] == 99
    assert "not checked: the bundle and the inputs" in notes
    next(out.glob("part-*")).unlink()
    code, _, notes = lading("batch", "verify", str(out))
    assert code == 1
    assert "expected a file, found none" in notes
