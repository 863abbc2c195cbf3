"""A log beside the registry of the test: two requests of iris, three rows, and a label."""

from __future__ import annotations

import pytest

from support.predictions import LogMaker, chunk


@pytest.fixture
def log(registry):
    log = LogMaker(registry / "log")
    log.add(chunk(["a", "b"], rows=[2, 1]))
    log.label("a", "class 0")
    log.flush()
    return log
