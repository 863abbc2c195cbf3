"""The guide to a first Keras model, followed as it stands."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support.guides import follow, script
from support.ports import free_port

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "first-model-keras.md"


@pytest.mark.slow
def test_the_guide_to_a_first_keras_model_runs_as_it_stands(tmp_path, monkeypatch):
    programs, folder = tmp_path / "programs", tmp_path / "empty"
    programs.mkdir()
    folder.mkdir()
    (programs / "lading").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lading "$@"\n')
    (programs / "lading").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    output = follow(script(GUIDE), folder, free_port())
    assert "`digits` holds here" in output
    lines = [line for line in output.splitlines() if not line.startswith(("I0000", "W0000", "E0000"))]
    assert any(_is_small(line) for line in lines), output
    assert any(line.startswith("Prediction(1 row of again: ") for line in lines), output


def _is_small(line: str) -> bool:
    try:
        return float(line) < 1e-4
    except ValueError:
        return False
