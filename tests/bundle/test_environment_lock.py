from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from lading.bundle.environment_lock import (
    MAX_LOCK_BYTES,
    EnvironmentLock,
    Pin,
    lock_of,
    normal_name,
    normal_version,
    read_lock,
)
from lading.errors import EnvironmentLockInvalid

A, B = (f"sha256:{digit * 64}" for digit in "ab")
LOCK = f"numpy==2.4.6 --hash={A} --hash={B}\nscikit-learn==1.9.1 --hash={A}\n".encode()


def test_a_lock_is_read_and_written_with_the_same_bytes():
    lock = read_lock(LOCK)
    assert lock == EnvironmentLock((Pin("numpy", "2.4.6", (A, B)), Pin("scikit-learn", "1.9.1", (A,))))
    assert lock.to_bytes() == LOCK
    assert lock.digest == f"sha256:{hashlib.sha256(LOCK).hexdigest()}"
    assert lock.versions == {"numpy": "2.4.6", "scikit-learn": "1.9.1"}


def test_pins_in_any_spelling_and_order_make_one_lock():
    pins = [Pin("Scikit_Learn", "v1.9.1", (A, A)), Pin("numpy", "2.04.6", (B, A))]
    assert lock_of(pins).to_bytes() == LOCK


# A dash sorts before the equals sign: lines are not in the order of their names.
def test_lines_are_sorted_by_their_bytes():
    lock = lock_of([Pin("a", "1", (A,)), Pin("a-b", "1", (A,))])
    assert [pin.name for pin in lock.pins] == ["a-b", "a"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "at least one line, found none"),
        (b"\n", "in line 1"),
        (LOCK[:-1], "a last line without one"),
        (LOCK + b"\n", "in line 3"),
        (LOCK.replace(b"\n", b"\r\n"), "in line 1"),
        (b"\xef\xbb\xbf" + LOCK, "ASCII, found another byte at 0"),
        (LOCK.replace(b"numpy", "ｎumpy".encode()), "another byte at 0"),
        (b"# pinned\n" + LOCK, "in line 1"),
        (b"--index-url http://x/\n" + LOCK, "in line 1"),
        (b"-r other.txt\n" + LOCK, "in line 1"),
        (b"numpy==2.4.6\n", "a hash for each wheel"),
        (b"numpy==2.4.6 \n", "a hash for each wheel"),
        (f"numpy>=2.4.6 --hash={A}\n".encode(), "in line 1"),
        (f"numpy===2.4.6 --hash={A}\n".encode(), "a normal version of `numpy`"),
        (f"numpy==2.4.* --hash={A}\n".encode(), "a normal version of `numpy`"),
        (f"numpy==2.04 --hash={A}\n".encode(), "a normal version of `numpy`"),
        (f"numpy==2.4.6; python_version>'3' --hash={A}\n".encode(), "in line 1"),
        (f"numpy @ http://x --hash={A}\n".encode(), "in line 1"),
        (f"numpy[all]==2.4.6 --hash={A}\n".encode(), "a name in lower case"),
        (f"Numpy==2.4.6 --hash={A}\n".encode(), "a name in lower case"),
        (f"scikit_learn==2.4.6 --hash={A}\n".encode(), "single dashes"),
        (f"-r==2.4.6 --hash={A}\n".encode(), "a name in lower case"),
        (f"numpy==2.4.6  --hash={A}\n".encode(), "in line 1"),
        (f"numpy==2.4.6\t--hash={A}\n".encode(), "in line 1"),
        (f"numpy==2.4.6 --hash={A} \\\n".encode(), "in line 1"),
        (f"numpy==2.4.6 --hash={A.upper()}\n".encode(), "a hash of `numpy`"),
        (f"numpy==2.4.6 --hash={A[:-1]}\n".encode(), "a hash of `numpy`"),
        (f"numpy==2.4.6 --hash=md5:{'a' * 64}\n".encode(), "a hash of `numpy`"),
        (f"numpy==2.4.6 --hash={B} --hash={A}\n".encode(), "hashes of `numpy` sorted"),
        (f"numpy==2.4.6 --hash={A} --hash={A}\n".encode(), "hashes of `numpy` sorted"),
        (f"numpy==2.4.6 --hash={A}\nnumpy==2.4.7 --hash={A}\n".encode(), "found `numpy` twice"),
        (f"numpy==2.4.6 --hash={A}\njoblib==1.6.0 --hash={A}\n".encode(), "found another order"),
        (LOCK.replace(b" --hash", b"\x0c--hash"), "in line 1"),
    ],
)
def test_any_other_sequence_of_bytes_is_refused(data, sentence):
    with pytest.raises(EnvironmentLockInvalid) as refused:
        read_lock(data)
    assert refused.value.message.startswith("`environment.lock`: expected ")
    assert sentence in refused.value.message


def test_a_lock_above_its_limit_is_refused_before_it_is_read():
    with pytest.raises(EnvironmentLockInvalid, match=f"at most {MAX_LOCK_BYTES} bytes"):
        read_lock(LOCK + b"\xff" * MAX_LOCK_BYTES)


@pytest.mark.parametrize(
    "pin", [Pin("numpy", "2.4.6", ()), Pin("numpy", "newest", (A,)), Pin("", "1", (A,)), Pin("é", "1", (A,))]
)
def test_no_lock_is_made_of_a_pin_that_is_none(pin):
    with pytest.raises(EnvironmentLockInvalid):
        lock_of([pin])


@given(st.binary(max_size=80).map(lambda noise: LOCK + noise))
def test_bytes_that_are_read_are_written_again_as_they_were(data):
    try:
        lock = read_lock(data)
    except EnvironmentLockInvalid:
        return
    assert lock.to_bytes() == data


PARTS = [
    "1",
    "0",
    "02",
    ".",
    "!",
    "v",
    "-",
    "_",
    "a",
    "b",
    "rc",
    "c",
    "alpha",
    "pre",
    "post",
    "rev",
    "dev",
    "+",
    "x",
]


@pytest.mark.slow
@settings(max_examples=500)
@given(st.lists(st.sampled_from(PARTS), max_size=10).map("".join))
def test_versions_have_the_normal_form_of_the_packaging_library(text):
    try:
        expected = str(Version(text))
    except InvalidVersion:
        assert normal_version(text) is None
    else:
        assert normal_version(text) == expected
        assert read_lock(f"a=={expected} --hash={A}\n".encode()).versions == {"a": expected}


@given(st.text(alphabet="aZ0-_.", min_size=1, max_size=12))
def test_names_have_the_normal_form_of_the_packaging_library(name):
    assert normal_name(name) == canonicalize_name(name)
