"""Engines by their names: the one that is asked for, or a refusal that names those that exist."""

from __future__ import annotations

import pytest

from lading.batch.engines.local import LocalEngine
from lading.batch.engines.named import engine
from lading.errors import InvalidSetting


def test_an_engine_is_chosen_by_its_name():
    assert isinstance(engine("local"), LocalEngine)


def test_an_unknown_engine_is_refused_naming_those_that_exist():
    with pytest.raises(InvalidSetting, match=r"`--engine`: expected `local`, `ray`.*found `dask`"):
        engine("dask")
