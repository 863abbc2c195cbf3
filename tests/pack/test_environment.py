"""The training environment in a bundle."""

from __future__ import annotations

import re

import numpy as np
from sklearn.linear_model import LinearRegression

from lading.pack import pack
from lading.pack.environment import describe_training
from support.sklearn_models import OWNER, X, Y


def test_requirements_are_the_training_environment(tmp_path):
    bundle = pack(LinearRegression().fit(X, Y), name="m", samples=X, owner=OWNER, to=tmp_path / "b")
    lines = (bundle.path / "requirements.txt").read_text().splitlines()
    assert lines == sorted(lines)
    assert f"numpy=={np.__version__}" in lines


def test_training_names_installed_packages_and_the_commit_of_the_repository():
    training = describe_training("scikit-learn 1.5", ("numpy", "a-package-that-is-not-installed"))
    assert training.framework == "scikit-learn 1.5"
    assert training.packages == {"numpy": np.__version__}
    assert training.git_commit is None or re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", training.git_commit)


def test_outside_a_repository_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert describe_training("onnx", ()).git_commit is None
