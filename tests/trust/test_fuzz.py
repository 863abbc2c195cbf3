"""Whatever bytes come as an envelope, a statement or a policy, they are read or refused in a sentence."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.errors import InvalidSetting, KeyInvalid, TrustError
from lading.trust.attestation import peek, verify
from lading.trust.policy import TrustPolicy
from lading.trust.statement import read_statement
from support.bundles import linear_bundle
from support.signing import key_of, payload, public_file, sealed, signature

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return linear_bundle(tmp_path_factory.mktemp("fuzzed") / "iris.bundle")


@pytest.fixture(scope="module")
def signed(bundle):
    return signature(bundle)


@given(text=st.text())
def test_any_text_is_no_attestation(text):
    with pytest.raises(TrustError):
        peek(text)


@given(data=st.data())
def test_an_attestation_with_any_change_is_refused_or_says_the_same(bundle, signed, data):
    place = data.draw(st.integers(0, len(signed) - 1))
    end = data.draw(st.integers(place, min(len(signed), place + 20)))
    forged = signed[:place] + data.draw(st.text(max_size=20)) + signed[end:]
    with contextlib.suppress(TrustError):
        stated = verify(forged, [key_of("ci").public], bundle.digest, bundle.manifest).statement
        # What is not signed may change: the hint, and blanks.
        assert stated == peek(signed)[1]


def places(values: object, path: tuple = ()) -> list[tuple]:
    if isinstance(values, dict):
        return [path, *(place for key, value in values.items() for place in places(value, (*path, key)))]
    if isinstance(values, list):
        return [path, *(place for key, value in enumerate(values) for place in places(value, (*path, key)))]
    return [path]


@given(data=st.data(), value=JSON)
def test_a_statement_with_any_value_in_any_place_is_read_or_refused(bundle, data, value):
    values = msgspec.json.decode(payload(bundle))
    *path, last = data.draw(st.sampled_from([place for place in places(values) if place]))
    holder = values
    for key in path:
        holder = holder[key]
    holder[last] = value
    with contextlib.suppress(TrustError):
        read_statement(msgspec.json.encode(values), "it")
    with contextlib.suppress(TrustError):
        verify(sealed(msgspec.json.encode(values)), [key_of("ci").public], bundle.digest, bundle.manifest)


@given(data=st.binary(max_size=300))
def test_any_payload_is_read_or_refused_although_it_is_signed(bundle, data):
    with pytest.raises(TrustError):
        verify(sealed(data), [key_of("ci").public], bundle.digest)


@given(text=st.text())
def test_any_text_is_no_policy(text):
    with pytest.raises((InvalidSetting, KeyInvalid)):
        TrustPolicy.parse(text, Path("/nonexistent"))


VALUES = (
    st.text(max_size=8)
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.lists(st.text(max_size=8) | st.integers(), max_size=3)
)


def toml(value: object) -> str:
    if isinstance(value, str):
        return msgspec.json.encode(value).decode().replace("\x7f", "?")
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else str(value)


@settings(max_examples=200)
@given(
    key=st.sampled_from(["names", "keys", "signers", "roles", "allow", "attested", "max_age_days", "x"]),
    value=VALUES,
)
def test_a_policy_with_any_value_is_read_or_refused_by_its_place(key, value):
    names = "" if key == "names" else 'names = ["*"]\n'
    text = f"[key.ci]\nfile = '{public_file('ci')}'\n[[model]]\n{names}{key} = {toml(value)}\n"
    try:
        policy = TrustPolicy.parse(text, Path("/"), "`trust.toml`")
    except InvalidSetting as error:
        place = error.message
    else:
        place = f"trust.toml, {len(policy.rules)} rule"
    assert "trust.toml" in place
