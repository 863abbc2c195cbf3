"""What the tests of rollouts share."""

from __future__ import annotations

import pytest

from support.simulated_rollout import SimulatedRollout


@pytest.fixture
def rollout(tmp_path) -> SimulatedRollout:
    return SimulatedRollout(str(tmp_path / "registry"))
