"""The registry of the test with windows of live columns of iris, of the last hours."""

from __future__ import annotations

import time

import pytest

from support.live_columns import reference, report, window


@pytest.fixture
def windows(opened):
    """Report an hour of rows of the first version; return their profile."""
    profile, begin = reference(), time.time() - 3000
    digest = opened.resolve("iris:1").digest
    report(opened, profile, [window(profile, begin + 600 * at, at, digest=digest) for at in range(4)])
    return profile
