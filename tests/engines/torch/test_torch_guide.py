"""The guide to a first model of PyTorch, followed as it stands."""

from __future__ import annotations

import sys

import pytest

from support.guides import GUIDES, follow, script
from support.ports import free_port


@pytest.mark.slow
def test_the_guide_of_pytorch_runs_as_it_stands(tmp_path):
    commands, folder = tmp_path / "commands", tmp_path / "empty"
    for made in (commands, folder):
        made.mkdir()
    for name, call in (("lading", "-m lading "), ("python", "")):
        (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {call}"$@"\n')
        (commands / name).chmod(0o755)
    output = follow(script(GUIDES / "first-model-pytorch.md"), folder, free_port(), commands=commands)
    assert "holds here" in output
    *_, difference, trips = output.strip().splitlines()
    assert float(difference) < 1e-4
    assert trips.startswith("Prediction(2 rows of trips: ")
