"""Errors about what a registry does not have: hints at what is similar, and no long lists."""

from __future__ import annotations

import pytest

from lading.errors import ModelNotFound, StillInUse, TagNotFound, VersionNotFound
from lading.ref import Ref
from lading.registry.not_found import blob_not_found, not_found, still_used
from support.release_processes import new_version


@pytest.fixture
def catalog(catalog):
    for bundle in range(1, 13):
        catalog.versions.add(new_version(bundle=bundle), ["good"] if bundle == 3 else [], lambda: None)
    return catalog


@pytest.mark.parametrize(
    ("ref", "kind", "words"),
    [
        ("irsi:1", ModelNotFound, "did you mean `iris`?"),
        ("wine", ModelNotFound, "there is `iris`"),
        ("iris:goood", TagNotFound, "did you mean `good`?"),
        ("iris:13", VersionNotFound, "found versions …, `5`, `6`, `7`, `8`, `9`, `10`, `11`, `12`"),
        (f"iris@sha256:{99:064x}", VersionNotFound, f"expected bundle `sha256:{99:064x}`"),
    ],
)
def test_the_error_names_what_is_missing_and_hints_at_what_is_similar(catalog, ref, kind, words):
    error = not_found(catalog, Ref.parse(ref))
    assert type(error) is kind
    assert words in str(error)


def test_without_any_tag_the_hint_says_how_to_set_one(catalog):
    catalog.versions.untag("iris", "good")
    assert not_found(catalog, Ref("iris", tag="good")).hint == "`lading tag iris:12 good` sets it"


def test_a_version_in_use_names_its_uses_and_what_to_do(catalog):
    version = catalog.versions.find(Ref("iris", version=3))
    error = still_used(version, ["tag `good`"])
    assert isinstance(error, StillInUse)
    assert error.found == "tag `good`"
    assert error.hint == "move them to another version first"
    assert still_used(version, ["release 1"]).hint == "release another version first"


def test_a_lost_blob_can_be_pushed_again():
    error = blob_not_found("sha256:1", expected="a file `/x`")
    assert error.message == "blob `sha256:1`: expected a file `/x`, found none"
    assert "push the bundle again" in error.hint
