"""Unexpected errors in a thread that must not end: each is logged once, and only an outage gets out."""

from __future__ import annotations

import pytest

from lading.errors import RegistryUnavailable
from lading.server.observe.failure_log import FailureLog


def fail(failures: FailureLog, error: Exception | None) -> None:
    with failures.guard("counting"):
        if error is not None:
            raise error


def test_an_error_is_logged_once_while_it_stays_the_same(caplog):
    failures = FailureLog()
    for error in (ValueError("a"), ValueError("a"), ValueError("b"), ValueError("b")):
        fail(failures, error)
    assert [record.message for record in caplog.records] == ["counting failed; the next turn tries again"] * 2


def test_an_error_that_comes_back_after_a_success_is_logged_again(caplog):
    failures = FailureLog()
    for error in (ValueError("a"), None, ValueError("a")):
        fail(failures, error)
    assert len(caplog.records) == 2


def test_an_unreachable_registry_is_left_to_the_caller(caplog):
    with pytest.raises(RegistryUnavailable):
        fail(FailureLog(), RegistryUnavailable("the catalog"))
    assert not caplog.records
