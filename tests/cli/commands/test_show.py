"""Showing one version."""

from __future__ import annotations

import json


def test_a_model_version_or_tag_that_does_not_exist_ends_with_3_and_a_suggestion(lading, filled):
    code, stdout, stderr = lading("show", "irsi")
    assert (code, stdout) == (3, "")
    assert "hint: did you mean `iris`?" in stderr
    assert lading("show", "iris:7")[0] == 3
    assert lading("list", "none")[0] == 3
    assert lading("pull", "iris:none", "--to", "x")[0] == 3


def test_a_version_is_shown_with_its_digest_and_evidence(lading, filled, bundle):
    _, stdout, _ = lading("show", "iris:stable")
    assert "iris:1" in stdout
    assert bundle.digest in stdout
    document = json.loads(lading("show", "iris:stable", "--json")[1])
    assert document["version"]["digest"] == bundle.digest
    assert document["evidence"] == []
