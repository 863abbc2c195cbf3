"""The guides to a first model of PyTorch and of transformers, followed as they stand."""

from __future__ import annotations

import sys

import pytest

from support.guides import GUIDES, follow, script
from support.ports import free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def followed(tmp_path):
    """Return what the terminal shows to a reader of a guide whose `python` is the one of this test."""
    commands, folder = tmp_path / "commands", tmp_path / "empty"
    for made in (commands, folder):
        made.mkdir()
    for name, call in (("lading", "-m lading "), ("python", "")):
        (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {call}"$@"\n')
        (commands / name).chmod(0o755)

    def follow_page(page):
        return follow(script(GUIDES / page), folder, free_port(), commands=commands)

    return follow_page


def test_the_guide_of_pytorch_runs_as_it_stands(followed):
    output = followed("first-model-pytorch.md")
    assert "holds here" in output
    *_, difference, trips = output.strip().splitlines()
    assert float(difference) < 1e-4
    assert trips.startswith("Prediction(2 rows of trips: ")


def test_the_guide_of_transformers_runs_as_it_stands(followed):
    output = followed("first-model-transformers.md")
    assert "holds here" in output
    assert '{"prediction":["good","bad"]}' in output
    # transformers reports on the terminal what it loads.
    lines = output.strip().splitlines()
    difference, vectors = lines[lines.index("True") + 1], lines[-1]
    assert float(difference) < 1e-4
    assert vectors.startswith("Prediction(2 rows of vectors: ")
