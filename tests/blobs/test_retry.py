"""Retries: what may pass is tried again, with pauses that grow; anything else is not."""

from __future__ import annotations

import pytest

from lading.blobs.retry import Retry, TransientError
from lading.errors import RegistryUnavailable

FAULT = RegistryUnavailable("the store", expected="an answer", found="none")


class Failing:
    """Fails `times` times, then returns 7."""

    def __init__(self, times: int, **fault: float) -> None:
        self.left = times
        self.fault = fault

    def __call__(self) -> int:
        if self.left:
            self.left -= 1
            raise TransientError(FAULT, **self.fault) from ConnectionError("reset")
        return 7


def test_a_transient_fault_is_retried_with_pauses_that_double_and_are_partly_random():
    pauses: list[float] = []
    assert Retry(sleep=pauses.append).run(Failing(4)) == 7
    assert len(pauses) == 4
    for pause_s, full_s in zip(pauses, (0.2, 0.4, 0.8, 1.6), strict=True):
        assert full_s / 2 <= pause_s <= full_s


def test_after_the_last_attempt_the_fault_is_raised_with_its_cause():
    pauses: list[float] = []
    with pytest.raises(RegistryUnavailable) as caught:
        Retry(attempts=3, sleep=pauses.append).run(Failing(3))
    assert caught.value is FAULT
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert len(pauses) == 2


@pytest.mark.parametrize(("asked_s", "paused_s"), [(3.0, 3.0), (3600.0, 10.0)])
def test_the_other_side_may_ask_for_a_longer_pause_up_to_the_limit(asked_s, paused_s):
    pauses: list[float] = []
    Retry(sleep=pauses.append).run(Failing(1, after_s=asked_s))
    assert pauses == [paused_s]


def test_any_other_error_is_raised_at_the_first_attempt():
    def fail() -> None:
        raise FAULT

    with pytest.raises(RegistryUnavailable):
        Retry(sleep=lambda _: pytest.fail("it was tried again")).run(fail)
