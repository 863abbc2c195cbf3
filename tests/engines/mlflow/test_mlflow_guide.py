"""The guide to a first model from MLflow, followed as it stands."""

from __future__ import annotations

import sys

import pytest

from support.guides import GUIDES, follow, script
from support.ports import free_port


@pytest.mark.slow
def test_the_guide_of_mlflow_runs_as_it_stands(tmp_path):
    commands, folder = tmp_path / "commands", tmp_path / "empty"
    for made in (commands, folder):
        made.mkdir()
    for name, call in (("lading", "-m lading "), ("python", "")):
        (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {call}"$@"\n')
        (commands / name).chmod(0o755)
    output = follow(script(GUIDES / "first-model-mlflow.md"), folder, free_port(), commands=commands)
    assert "`shop` holds here" in output
    assert "logged by" in output
    assert "as MLflow answers: True" in output
    assert output.strip().splitlines()[-1] == "Prediction(1 row of discount: 80.0)"
    assert "predictions" in (folder / "answer.json").read_text()
