from __future__ import annotations

import pytest

from journeys.shell import Shell


@pytest.fixture
def shell(tmp_path) -> Shell:
    return Shell(tmp_path)
