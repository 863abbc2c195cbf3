"""The manifest: its canonical bytes, its seal, and any bytes in its place."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.bundle import (
    canonical_json,
)
from lading.bundle.manifest import FileEntry, quote, read_manifest, seal_manifest, size_limit
from lading.errors import (
    LadingError,
)
from support.bundles import linear_bundle, linear_draft


@pytest.fixture
def bundle(tmp_path):
    return linear_bundle(tmp_path / "iris.bundle")


def test_the_seal_is_the_sha256_of_the_manifest_without_it(bundle):
    tree = json.loads((bundle.path / "bundle.json").read_bytes())
    seal = tree.pop("seal")
    assert seal == hashlib.sha256(canonical_json(tree)).hexdigest()


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)


JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.slow
@given(JSON)
def test_canonical_json_is_json_in_exactly_one_form(value):
    data = canonical_json(value)
    assert json.loads(data) == value
    assert canonical_json(json.loads(data)) == data


@given(st.binary(max_size=200))
def test_any_other_bytes_are_no_manifest(data):
    with pytest.raises(LadingError):
        read_manifest(data)


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=8))
def test_a_manifest_with_changed_bytes_is_refused(at, spoil):
    files = {name: FileEntry("0" * 64, 1) for name in ("model.onnx", "samples.npz", "requirements.txt")}
    data = canonical_json(seal_manifest(linear_draft(), files))
    at %= len(data)
    spoiled = data[:at] + spoil + data[at + len(spoil) :]
    if spoiled == data:
        return
    with pytest.raises(LadingError):
        read_manifest(spoiled)


def test_msgspec_words_an_unknown_field_and_a_wrong_type_as_the_reader_expects():
    """The reader distinguishes the two by msgspec's text, which has one exception class for both."""

    class Known(msgspec.Struct, forbid_unknown_fields=True):
        a: int

    with pytest.raises(msgspec.ValidationError, match=r"^Object contains unknown field `b` - at `\$"):
        msgspec.convert({"c": {"a": 1, "b": 2}}, dict[str, Known])
    with pytest.raises(msgspec.ValidationError, match=r"^Expected `int`, got `str` - at `\$\.a`"):
        msgspec.convert({"a": "1"}, Known)


def test_names_of_a_bundle_are_quoted_without_control_characters():
    assert quote("model.onnx") == "`model.onnx`"
    assert quote("\x1b[31m").isprintable()


def test_every_file_has_a_limit():
    assert size_limit("bundle.json") < size_limit("samples.npz") < size_limit("model.onnx")
