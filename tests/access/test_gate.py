"""The gate: whom it knows, how long, and what a new file changes."""

from __future__ import annotations

import random
import statistics
import threading
import time

import pytest

from lading.access import FACTS, PREDICTION, READ_ALL
from lading.access.file import AccessFile
from lading.access.gate import Gate
from lading.access.keys import new_key
from lading.errors import AccessDenied, CallerUnknown, RateExceeded
from support.access_files import Clock, Keys, bearer

OTHER = "lading_FadRCyToXQC8yTl7A0pr6V9gmrq8j5d123sUUH"
"""A key by its form, which nobody has."""


def test_a_key_is_its_caller_however_the_scheme_is_written():
    keys = Keys()
    key = keys.add("a", "predict")
    gate = keys.gate()
    for header in (f"Bearer {key}", f"bearer {key}", f"BEARER  {key} "):
        assert gate.of_credential(header.encode()).name == "a"


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Basic YTpi",
        b"Bearer lading_",
        b"Bearer a.b.c",
        b"Bearer \xff\xfe",
        b"Bearer " + b"a" * 100_000,
        f"Bearer {OTHER}".encode(),
        f"Token {OTHER}".encode(),
    ],
)
def test_whatever_is_no_key_of_the_file_is_refused_and_not_repeated(header):
    keys = Keys()
    keys.add("a", "predict")
    with pytest.raises(CallerUnknown) as refused:
        keys.gate().of_credential(header)
    assert header[7:].decode("latin-1").strip()[:40] not in str(refused.value) or len(header) < 16


def test_a_key_ends_when_it_expires_though_it_was_seen_before():
    clock, keys = Clock(), Keys()
    key = keys.add("a", "predict", more="expires = 2027-01-15T08:01:00Z")
    gate = Gate(keys.file(), clock=clock)
    assert gate.of_credential(bearer(key)).name == "a"
    clock.now += 61
    with pytest.raises(CallerUnknown, match="it has expired"):
        gate.of_credential(bearer(key))


def test_a_new_file_holds_at_once_for_callers_that_were_seen_before():
    keys, later = Keys(), Keys()
    old = keys.add("old", "predict")
    new = later.add("new", "predict")
    gate = keys.gate()
    gate.of_credential(bearer(old))
    gate.replace(later.file())
    with pytest.raises(CallerUnknown):
        gate.of_credential(bearer(old))
    assert gate.of_credential(bearer(new)).name == "new"


def test_wrong_keys_are_not_remembered():
    keys = Keys()
    keys.add("a", "predict")
    gate = keys.gate()
    for _ in range(100):
        with pytest.raises(CallerUnknown):
            gate.of_credential(bearer(new_key()))
    assert gate.remembered == {}


def test_no_credential_is_kept_in_memory():
    keys = Keys()
    key = keys.add("a", "predict")
    gate = keys.gate()
    gate.of_credential(bearer(key))
    assert key not in repr(vars(gate))
    assert key.encode() not in b"".join(gate.remembered)


def test_what_a_caller_was_not_granted_is_denied_by_name():
    keys = Keys()
    caller_key = keys.add("a", "predict", more='models = ["iris"]')
    gate = keys.gate()
    caller = gate.of_credential(bearer(caller_key))
    gate.allow(caller, PREDICTION, "iris")
    gate.allow(caller, FACTS, "iris")
    with pytest.raises(AccessDenied, match="`a`: expected a caller who may predict on `fraud`"):
        gate.allow(caller, PREDICTION, "fraud")
    with pytest.raises(AccessDenied, match="read on all models"):
        gate.allow(caller, READ_ALL)


def test_a_limit_counts_what_is_allowed():
    keys = Keys()
    key = keys.add("a", "predict", more='quota = "2/d"\nmodels = ["iris"]')
    gate = keys.gate()
    caller = gate.of_credential(bearer(key))
    for _ in range(5):
        with pytest.raises(AccessDenied):
            gate.allow(caller, PREDICTION, "fraud")
    gate.allow(caller, PREDICTION, "iris")
    gate.allow(caller, PREDICTION, "iris")
    with pytest.raises(RateExceeded):
        gate.allow(caller, PREDICTION, "iris")


def test_files_that_change_while_callers_ask_refuse_no_good_caller():
    keys = Keys()
    key = keys.add("a", "predict")
    gate, file, failures = keys.gate(), keys.file(), []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            try:
                gate.of_credential(bearer(key))
            except CallerUnknown as error:
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        gate.replace(file)
    ended.set()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.wide
@pytest.mark.alone
def test_the_time_of_a_key_says_nothing_about_it():
    """Wrong keys, and wrong ones that begin as a right one does: 100,000 tries of each kind.

    What a right key costs says no more than its answer does. Criterion: the chance that one try takes longer
    than one of the other kind is within 0.5 ± 0.06 in the better of three rounds; with equal distributions
    its standard error is 0.0013.
    """
    gates = Keys()
    right = gates.add("a", "predict")
    gate = gates.gate()
    near = _near(right)
    tries = {"wrong": new_key(), "near": near}
    worst = min(_largest_difference(gate, tries) for _ in range(3))
    assert worst < 0.06, f"{worst:.3f}"


def _near(key: str) -> str:
    """Return a key that differs from another in its last character alone, which no gate computes."""
    return key[:-1] + ("a" if key[-1] != "a" else "b")


def _largest_difference(gate: Gate, tries: dict[str, str]) -> float:
    clock, times = time.perf_counter_ns, {kind: [] for kind in tries}
    order = [kind for kind in tries for _ in range(100_000)]
    random.Random(1).shuffle(order)
    for kind in order:
        text = tries[kind]
        began = clock()
        gate._known(text)
        times[kind].append(clock() - began)
    return abs(_chance(times["wrong"], times["near"]) - 0.5)


def _chance(left: list[int], right: list[int]) -> float:
    """Return the chance that one of `left` is greater than one of `right` (Mann-Whitney)."""
    import numpy as np

    ordered = np.sort(np.asarray(right))
    below = np.searchsorted(ordered, left, "left")
    equal = np.searchsorted(ordered, left, "right") - below
    return float(np.mean(below + equal / 2) / len(right))


@pytest.mark.wide
@pytest.mark.alone
def test_a_key_that_was_seen_costs_two_microseconds():
    keys = Keys()
    key = keys.add("a", "predict", more='models = ["iris*"]')
    gate, header = keys.gate(), bearer(key)

    def batch() -> float:
        began = time.perf_counter()
        for _ in range(10_000):
            gate.allow(gate.of_credential(header), PREDICTION, "iris")
        return (time.perf_counter() - began) / 10_000

    assert statistics.quantiles([batch() for _ in range(20)], n=10)[0] < 2e-6


def test_a_gate_of_an_empty_remembrance_reads_its_file_once(tmp_path):
    keys = Keys()
    keys.add("a", "read")
    path = keys.write(tmp_path / "access.toml")
    assert AccessFile.read(path) == keys.file()
