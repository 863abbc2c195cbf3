"""References, directories, metrics and actors, and how they are completed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from lading.cli.ui.parameters import BundleType, MetricType, current_actor
from lading.errors import InvalidReference
from lading.ref import Ref


def test_a_name_is_a_directory_only_if_that_holds_a_bundle(lading, bundle, filled, tmp_path):
    (tmp_path / "iris").mkdir()
    assert json.loads(lading("inspect", "iris", "--json")[1])["digest"] != bundle.digest
    (tmp_path / "iris").rmdir()
    bundle.path.rename(tmp_path / "iris")
    assert json.loads(lading("inspect", "iris", "--json")[1])["digest"] == bundle.digest
    assert json.loads(lading("inspect", "iris:2", "--json")[1])["digest"] != bundle.digest


def test_a_value_with_a_slash_must_be_an_existing_directory(tmp_path):
    assert BundleType().convert(str(tmp_path), None, None) == Path(tmp_path)
    assert BundleType().convert("iris@sha256:" + "a" * 64, None, None) == Ref(
        "iris", digest="sha256:" + "a" * 64
    )
    with pytest.raises(click.BadParameter, match=r"directory `\./none` does not exist"):
        BundleType().convert("./none", None, None)
    with pytest.raises(InvalidReference):
        BundleType().convert("Iris", None, None)


def test_a_metric_is_a_name_and_a_number():
    assert MetricType().convert("accuracy=0.97", None, None) == ("accuracy", 0.97)
    for text in ("accuracy", "=1", "accuracy=high"):
        with pytest.raises(click.BadParameter, match="expected `name=number`"):
            MetricType().convert(text, None, None)


def test_the_actor_is_the_option_or_the_variable_or_the_login_name(lading, proved, monkeypatch):
    monkeypatch.setenv("LADING_ACTOR", "ada")
    lading("release", "iris:1")
    monkeypatch.delenv("LADING_ACTOR")
    monkeypatch.setenv("LOGNAME", "login")
    lading("release", "iris:2")
    lading("release", "iris:1", "--actor", "grace")
    assert [event.actor for event in proved.releases.events("iris")] == ["ada", "login", "grace"]


def test_a_user_without_a_name_is_recorded_by_number(monkeypatch):
    def no_name() -> str:
        raise KeyError("getpwuid(): uid not found: 65532")

    monkeypatch.setattr("getpass.getuser", no_name)
    assert current_actor(None, {}) == f"uid {os.getuid()}"


@pytest.mark.slow
def test_completion_creates_no_registry(registry):
    environ = {
        **os.environ,
        "_LADING_COMPLETE": "bash_complete",
        "COMP_WORDS": "lading show i",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(
        [sys.executable, "-m", "lading"], capture_output=True, text=True, env=environ, check=True
    )
    assert done.stdout.strip() == ""
    assert not registry.exists()
