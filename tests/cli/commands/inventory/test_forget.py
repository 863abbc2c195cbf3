"""Removing servers from the inventory."""

from __future__ import annotations


def test_forgetting_a_running_server_says_that_it_returns(lading, running):
    code, stdout, stderr = lading("inventory", "forget", "web-1")
    assert (code, stdout) == (0, "web-1\n")
    assert stderr == "`web-1` is running: it returns with its next heartbeat\n"
    assert lading("inventory", "show", "web-1")[0] == 3


def test_a_stopped_server_is_forgotten_for_good(lading, running):
    assert lading("inventory", "forget", "web-2") == (0, "web-2\n", "")
