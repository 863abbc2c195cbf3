"""Verifying bundles from the command line."""

from __future__ import annotations

import contextlib
import json
import sqlite3

import pytest

from support.recorded_evidence import push_forged


@pytest.mark.slow
def test_the_evidence_of_a_version_is_recorded_and_that_of_a_directory_is_not(lading, opened, bundle):
    assert lading("verify", bundle.path)[0] == 0
    assert opened.evidence() == []
    code, stdout, stderr = lading("verify", "iris:1", "--json")
    assert code == 0
    assert json.loads(stdout)["holds"] is True
    assert "evidence recorded in the registry" in stderr
    assert [entry.holds for entry in opened.evidence()] == [True]


@pytest.mark.slow
def test_a_bundle_that_does_not_hold_ends_with_1_and_is_recorded(lading, opened, tmp_path):
    ref = push_forged(opened, tmp_path / "forged")
    code, stdout, stderr = lading("verify", ref)
    assert code == 1
    assert "failed" in stdout
    assert "error: `iris` does not hold here, check `golden`" in stderr
    assert [entry.holds for entry in opened.evidence()] == [False]


@pytest.mark.slow
def test_the_result_is_shown_though_the_registry_does_not_record_it(lading, filled):
    with contextlib.closing(sqlite3.connect(filled / "catalog.db")) as catalog:
        catalog.execute("DROP TABLE evidence")
    code, stdout, stderr = lading("verify", "iris:1")
    assert code == 0
    assert "golden" in stdout
    assert "note: the evidence is not recorded: catalog of registry" in stderr
    assert "`iris` holds here" in stderr


@pytest.mark.slow
def test_a_gate_against_the_live_version_is_skipped_without_one(lading, filled, tmp_path):
    (tmp_path / "gates.toml").write_text("no_worse_than_live.accuracy = 0.0\n")
    code, stdout, _ = lading("verify", "iris:1", "--gates", "gates.toml")
    assert code == 0
    assert "no live version to compare with" in stdout
