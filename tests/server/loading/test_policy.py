"""What is loaded and unloaded next: pure decisions about snapshots."""

from __future__ import annotations

import pytest

from lading.bundle import Bundle
from lading.server.inference.version import ServedVersion, State
from lading.server.loading.policy import Load, Unload, Wanted, load_first, unload_first


def never() -> Bundle:
    raise AssertionError("a policy opens nothing")


def wanted(version: int, name: str = "iris") -> Wanted:
    return Wanted(name, version, f"sha256:{version}", never)


def present(version: int, state: State, name: str = "iris") -> ServedVersion:
    return ServedVersion(name, version, f"sha256:{version}", state)


def test_there_is_nothing_to_do_when_nothing_is_wanted_or_present():
    assert load_first([], []) is None
    assert unload_first([], []) is None


def test_a_wanted_version_that_is_not_present_is_loaded():
    assert load_first([wanted(1)], []) == Load(wanted(1))
    assert unload_first([wanted(1)], []) == Load(wanted(1))


def test_the_new_version_is_loaded_before_the_old_one_is_unloaded():
    assert load_first([wanted(2)], [present(1, State.READY)]) == Load(wanted(2))


def test_where_memory_is_short_the_old_version_is_unloaded_before_the_new_one_is_loaded():
    old, other = present(1, State.READY), present(1, State.READY, "wine")
    assert unload_first([wanted(2), wanted(1, "wine")], [other, old]) == Unload(old)
    assert unload_first([wanted(2), wanted(1, "wine")], [other]) == Load(wanted(2))


@pytest.mark.parametrize("state", [State.LOADING, State.WARMING, State.FAILED])
def test_the_old_version_stays_until_the_new_one_is_ready(state):
    assert load_first([wanted(2)], [present(1, State.READY), present(2, state)]) is None


@pytest.mark.parametrize("policy", [load_first, unload_first])
def test_the_old_version_is_unloaded_once_the_new_one_is_ready(policy):
    old = present(1, State.READY)
    assert policy([wanted(2)], [old, present(2, State.READY)]) == Unload(old)


def test_a_model_that_is_not_wanted_any_more_is_unloaded_immediately():
    old = present(1, State.READY, "wine")
    assert load_first([wanted(1)], [present(1, State.READY), old]) == Unload(old)


def test_a_failed_version_is_not_retried():
    assert load_first([wanted(1)], [present(1, State.FAILED)]) is None


def test_a_failed_version_that_is_not_wanted_any_more_is_unloaded():
    failed = present(1, State.FAILED)
    assert load_first([wanted(2)], [failed, present(2, State.LOADING)]) == Unload(failed)


def test_an_unloaded_version_can_be_wanted_again():
    assert load_first([wanted(1)], [present(1, State.UNLOADED)]) == Load(wanted(1))


def test_a_draining_version_that_is_wanted_again_is_loaded_again():
    draining, ready = present(1, State.DRAINING), present(2, State.READY)
    assert load_first([wanted(1)], [draining, ready]) == Load(wanted(1))
    assert unload_first([wanted(1)], [draining, ready]) == Unload(draining)


def test_of_the_draining_versions_the_least_busy_is_unloaded_first():
    stuck, idle = present(1, State.DRAINING), present(2, State.DRAINING)
    stuck.in_flight = 1
    assert load_first([wanted(3)], [stuck, idle, present(3, State.FAILED)]) == Unload(idle)
    assert load_first([wanted(1)], [stuck, present(1, State.READY)]) == Unload(stuck)
