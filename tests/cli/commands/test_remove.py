"""Removing versions."""

from __future__ import annotations


def test_a_tagged_version_is_not_removed_and_another_one_is(lading, filled):
    code, stdout, stderr = lading("remove", "iris:1")
    assert (code, stdout) == (1, "")
    assert "stable" in stderr
    assert lading("remove", "iris:2")[:2] == (0, "iris:2\n")
    assert lading("show", "iris:2")[0] == 3
