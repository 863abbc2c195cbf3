"""Hostile profiles: rules 6.4 to 6.4c of FORMAT.md. Each breaks one, in both forms of a bundle."""

from __future__ import annotations

import copy
import json
import re
import shutil
import time

import numpy as np
import pytest

from lading.bundle import Bundle
from lading.errors import DigestMismatch, DuplicateEntry, ManifestInvalid, TooLarge, UnknownKey
from lading.profile.encoding import encode
from lading.profile.measure import measure
from support.forged_bundles import dump, members, put, refused_directory, refused_tar, tar
from support.python_bundles import python_bundle, python_draft

NAME = "doubled"
INPUTS = python_draft().signature.inputs


@pytest.fixture(scope="module")
def profile():
    random = np.random.default_rng(0)
    rows = random.normal(size=(400, 2)).astype(np.float32)
    rows[:, 1] = random.integers(0, 3, 400)
    value = rows.sum(axis=1).astype(np.float32)
    return encode(measure(python_draft().signature, {"X": rows}, {"value": value}))


@pytest.fixture(scope="module")
def pristine2(tmp_path_factory, profile):
    place = python_bundle(tmp_path_factory.mktemp("pristine") / "doubled.bundle").path
    return put(place, "profile.json", profile)


@pytest.fixture
def bundle(pristine2, tmp_path):
    """Return the path of a good bundle with a profile, alone in its directory, for the test to damage."""
    return shutil.copytree(pristine2, tmp_path / "case" / "doubled.bundle")


def refused(path, data, kind, *words):
    """Expect the same refusal of the directory and of its tar form."""
    put(path, "profile.json", data)
    refused_directory(path, kind, *words)
    refused_tar(tar(members(path, NAME)), path.parent, kind, *words)


def changed(profile, **changes):
    """Set values by their path: ``inputs__0__counts__2=7``; None removes the key."""
    tree = copy.deepcopy(json.loads(profile))
    for path, value in changes.items():
        *way, last = [int(part) if part.isdigit() else part for part in path.split("__")]
        place = tree
        for part in way:
            place = place[part]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return dump(tree)


def test_a_good_profile_is_read_once(bundle, profile):
    opened = Bundle.open(bundle)
    assert encode(opened.profile) == profile
    assert opened.profile is opened.profile
    (bundle / "profile.json").unlink()
    assert opened.profile.rows == 400


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"",
        lambda _: b"[]",
        lambda data: data + b"\n",
        lambda data: data.replace(b'"rows":400', b'"rows": 400'),
        lambda data: data.replace(b'{"inputs"', b'{"labelled":0,"inputs"'),
        lambda data: data.replace(b'"source":"reference"}', b'"right":0,"source":"reference"}'),
        lambda data: data.replace(b'"values":[0.0,', b'"values":[0,'),
        lambda data: data.replace(b'"values":[0.0,', b'"values":[0.00,'),
        lambda data: data.replace(b'"rows":400', b'"rows":4e2'),
        lambda data: data.replace(b'"rows":400', b'"rows":400.0'),
        lambda data: data.replace(b'"rows":400', b'"rows":NaN'),
        lambda data: data.replace(b'"mean":', b'"mean":Infinity,"x":'),
        lambda data: data.replace(b'"kind":"number"', b'"kind":"num\\u0062er"'),
        lambda data: b"\xef\xbb\xbf" + data,
        lambda _: b"[" * 100_000,
        lambda _: b'{"rows":' + b"9" * 5000 + b"}",
    ],
)
def test_a_profile_that_is_not_canonical_is_refused(bundle, profile, spoil):
    data = spoil(profile)
    assert data != profile
    refused(bundle, data, ManifestInvalid, "`profile.json`")


def test_a_key_that_comes_twice_is_refused(bundle, profile):
    refused(bundle, profile.replace(b'"rows":400', b'"rows":400,"rows":400'), DuplicateEntry)


def test_an_unknown_key_of_a_profile_is_refused(bundle, profile):
    refused(bundle, changed(profile, sketches=1), UnknownKey, "sketches")
    refused(bundle, changed(profile, inputs__0__sketch=1), UnknownKey, "$.inputs[0]")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"inputs__0__name": ""}, "$.inputs[0]"),
        ({"inputs__0__name": "b"}, "$.inputs[1]"),
        ({"inputs__0__tensor": "Y"}, "$.inputs[0]"),
        ({"inputs__0__position": 1}, "$.inputs[1]"),
        ({"inputs__0__position": 2}, "$.inputs[0]"),
        ({"inputs__0__position": -1}, "$.inputs[0]"),
        ({"inputs__0__summary": "norm"}, "$.inputs[0]"),
        ({"inputs__0__summary": "channel"}, "$.inputs[0]"),
        ({"inputs__0__summary": "sketch", "inputs__0__position": -1}, "$.inputs[0]"),
        ({"inputs__1__name": "a", "inputs__1__position": 0}, "$.inputs[1]"),
        ({"outputs__0__tensor": "a\u202e"}, "$.outputs[0]"),
        ({"inputs__0__kind": "sketch"}, "$.inputs[0].kind"),
        ({"inputs__0__counts": None}, "$.inputs[0]"),
        ({"source": "somewhere"}, "$.source"),
    ],
)
def test_a_profile_of_other_columns_is_refused(bundle, profile, changes, where):
    refused(bundle, changed(profile, **changes), ManifestInvalid, where)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"inputs__0__counts__2": -1}, "$.inputs[0].counts"),
        ({"inputs__0__counts__2": 2**53 + 1}, "$.inputs[0].counts"),
        ({"inputs__0__counts": [0, 0, 400]}, "$.inputs[0].counts"),
        ({"inputs__0__counts": []}, "$.inputs[0].counts"),
        ({"inputs__0__bounds__1": -1e9}, "$.inputs[0].bounds"),
        ({"inputs__0__values": [1.0]}, "$.inputs[0]"),
        ({"inputs__1__values": [0.0, 0.0, 1.0]}, "$.inputs[1].values"),
        ({"inputs__1__values": ["0", "1", "2"]}, "$.inputs[1].values"),
        ({"inputs__1__values": [False, True, 2.0]}, "$.inputs[1].values"),
        ({"inputs__1__kind": "category"}, "$.inputs[1].values"),
        ({"inputs__1__kind": "category", "inputs__1__values": ["a", "b", ""]}, "$.inputs[1].values"),
        ({"inputs__1__kind": "category", "inputs__1__values": ["a", "b", "c" * 1001]}, "$.inputs[1].values"),
        ({"inputs__0__kind": "boolean"}, "$.inputs[0].values"),
    ],
)
def test_cells_outside_their_rules_are_refused(bundle, profile, changes, where):
    refused(bundle, changed(profile, **changes), ManifestInvalid, where)


def test_more_cells_than_a_profile_may_have_are_refused(bundle, profile):
    bounds = [float(at) for at in range(1000)]
    many = changed(profile, inputs__0__bounds=bounds, inputs__0__counts=[0] * 1002 + [400])
    refused(bundle, many, ManifestInvalid, "at most 1000 cells")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"rows": 401}, "$.inputs[0].counts"),
        ({"rows": -1}, "$.rows"),
        ({"rows": 2**63}, "$.rows"),
        ({"rows": 2**200}, "$.rows"),
        ({"refused": -1}, "$.refused"),
        ({"right": 1}, "$.right"),
        ({"labelled": 3, "right": 4}, "$.right"),
        ({"outputs__0__counts__2": 400}, "$.outputs[0].counts"),
        ({"inputs__0__minimum": 1e9}, "$.inputs[0].minimum"),
        ({"inputs__0__deviation": -1.0}, "$.inputs[0].deviation"),
        ({"calibration": {"rows": [], "right": []}}, "$.calibration"),
    ],
)
def test_numbers_of_a_profile_outside_their_rules_are_refused(bundle, profile, changes, where):
    refused(bundle, changed(profile, **changes), ManifestInvalid, where)


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"1" + b"0" * 400])
def test_a_number_that_no_float_holds_is_refused(bundle, profile, number):
    spoiled = re.sub(rb'"mean":[-0-9.e]+', b'"mean":' + number, profile, count=1)
    refused(bundle, spoiled, ManifestInvalid, "$.inputs[0].mean")


@pytest.mark.slow
def test_a_profile_above_its_limit_is_refused(bundle):
    refused(bundle, b'{"rows":' + b" " * (16 * 2**20) + b"1}", TooLarge)


@pytest.mark.slow
def test_a_profile_of_16_mib_is_refused_in_seconds(bundle, profile):
    tree = json.loads(profile)
    tree["inputs"] = tree["inputs"][:1] * (15 * 2**20 // len(json.dumps(tree["inputs"][0])))
    data = dump(tree)
    assert 8 * 2**20 < len(data) < 16 * 2**20
    # Of this process alone: it takes one second of it, whatever else runs here.
    began = time.process_time()
    refused(bundle, data, ManifestInvalid, "$.inputs[1]")
    assert time.process_time() - began < 10


def test_a_changed_profile_is_not_the_one_that_was_checked(bundle):
    opened = Bundle.open(bundle)
    (bundle / "profile.json").write_bytes(b"{}")
    with pytest.raises(DigestMismatch, match=r"profile\.json"):
        opened.profile  # noqa: B018
