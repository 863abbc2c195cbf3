"""CatBoost: each configuration is packed, and answers unseen rows as CatBoost does."""

from __future__ import annotations

import warnings

import pytest

from support.booster_models import pack_and_ask
from support.catboost_models import catboost_cases

CASES = [pytest.param(train, id=name) for name, train in catboost_cases()]


@pytest.mark.parametrize("train", CASES)
def test_rows_that_packing_never_saw_are_answered_as_by_catboost(tmp_path, train):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what frameworks say of names, gaps and settings
        bundle, asked = pack_and_ask(train(), tmp_path)
    assert not asked.silent, asked.examples
    assert asked.rows > asked.refused
    assert "catboost" in bundle.manifest.training.packages
