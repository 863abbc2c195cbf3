"""Listing models and versions."""

from __future__ import annotations

import json

import pytest


def test_models_are_listed_with_their_newest_version_and_a_name_lists_all_versions(lading, filled):
    _, stdout, _ = lading("list")
    assert [line.split()[0] for line in stdout.splitlines()] == ["ref", "iris:2"]
    _, stdout, _ = lading("list", "iris")
    assert [line.split()[0] for line in stdout.splitlines()] == ["ref", "iris:1", "iris:2"]
    _, stdout, _ = lading("list", "--json")
    assert [model["ref"] for model in json.loads(stdout)["models"]] == ["iris:2"]
    _, stdout, _ = lading("list", "iris", "--json")
    assert [version["tags"] for version in json.loads(stdout)["versions"]] == [["stable"], []]


def test_an_empty_registry_is_no_error(lading):
    assert lading("list")[:2] == (0, "")
    assert lading("matrix")[:2] == (0, "")
    assert json.loads(lading("list", "--json")[1]) == {"models": []}


@pytest.mark.slow
@pytest.mark.parametrize("ref", ["iris:3", "iris:1", "iris:stable", "none:1", f"iris@sha256:{1:064x}"])
@pytest.mark.parametrize("command", ["list", "matrix"])
def test_a_reference_instead_of_a_name_is_a_usage_error(lading, filled, command, ref):
    code, stdout, stderr = lading(command, ref)
    assert (code, stdout) == (2, "")
    assert f"expected a model's name, found reference `{ref}`" in stderr
