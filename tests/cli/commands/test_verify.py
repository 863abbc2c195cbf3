"""Verifying bundles from the command line."""

from __future__ import annotations

import contextlib
import json
import sqlite3

import pytest

from support.moving_packages import moving_bundle, tiny
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


@pytest.mark.slow
def test_an_upgrade_and_the_package_that_changes_the_answers_are_shown(lading, opened, tmp_path, monkeypatch):
    wheels = tmp_path / "wheels"
    monkeypatch.setenv("LADING_CACHE", str(tmp_path / "cache"))
    opened.push(moving_bundle(tmp_path / "doubled", wheels))
    tiny(wheels, "tiny-scale", "2.0", "3")
    tiny(wheels, "tiny-noise", "1.1", "0")
    tiny(wheels, "tiny-bias", "1.1", "0.00001")
    options = ("--allow", "code", "--wheels", wheels)
    code, stdout, stderr = lading("verify", "doubled:1", "--upgrade", "tiny-noise==1.1", *options)
    assert code == 0
    assert stdout.splitlines()[1].split() == ["tiny-noise", "1.0", "1.1", "stated"]
    assert stderr == "`doubled` with tiny-noise 1.1 answers the same bit for bit\n"
    code, stdout, stderr = lading("verify", "doubled:1", "--upgrade", "tiny-bias", *options, "--json")
    assert (code, json.loads(stdout)["answers"]) == (0, "within")
    assert "within its tolerance: largest difference 1e-05; least agreeing: output `value`, row 2" in stderr
    assert lading("verify", "doubled:1", "--upgrade", "tiny-scale", *options)[0] == 1
    code, stdout, stderr = lading("verify", "doubled:1", "--bisect", *options)
    assert code == 1
    assert [line.split()[-1] for line in stdout.splitlines()[1:]] == ["stay", "stay", "changed"]
    assert stderr.startswith("error: tiny-scale 2.0 changes the answers of `doubled`, seen in ")
    assert "row 1: expected 14.0, found 21.0" in stderr
    assert opened.evidence() == []


def test_other_versions_of_a_bundle_without_an_environment_are_refused_in_a_sentence(lading, bundle):
    code, stdout, stderr = lading("verify", bundle.path, "--upgrade", "numpy==2.5")
    assert (code, stdout) == (1, "")
    assert stderr.startswith("error: bundle `iris`: expected an environment of its own")
    assert lading("verify", bundle.path, "--bisect", "--gates", bundle.path / "bundle.json")[0] == 2
