"""Jobs in words."""

from __future__ import annotations

import msgspec
import pytest

from lading.jobs import ENDED, STATES, JobRecord


@pytest.mark.parametrize("state", STATES)
def test_a_job_that_is_done_failed_or_cancelled_has_ended(state):
    record = JobRecord(
        id="1", number=1, name="iris", path="/p", priority=0, state=state, created_at=1.0, fingerprint="f"
    )
    assert record.has_ended == (state in ENDED)
    secret = msgspec.structs.replace(record, webhook="https://hooks.example.com/secret?token=1")
    assert (secret.webhook_host, record.webhook_host) == ("hooks.example.com", "")
