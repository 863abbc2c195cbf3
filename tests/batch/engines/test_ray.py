"""The Ray engine where Ray is not installed; tests/engines/ray has the rest, on a real cluster."""

from __future__ import annotations

import pytest

from lading.batch.engines.named import engine
from lading.errors import ExtraMissing


def test_without_ray_the_engine_is_refused_with_what_brings_it():
    with pytest.raises(
        ExtraMissing, match=r"`--engine ray`: expected the extra `ray`, found no module `ray`"
    ):
        engine("ray")
