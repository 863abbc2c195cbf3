from __future__ import annotations

import pytest

from lading.bundle.environment_lock import Pin, lock_of
from lading.errors import RequirementsRefused
from lading.runtime.python.resolver import Resolver
from lading.verify.changed_locks import Change, changes, keep_most, mixed, newest, upgraded, with_wheels
from support.tiny_wheels import write_wheel


def lock(**versions):
    return lock_of(Pin(name, version, (f"sha256:{'0' * 64}",)) for name, version in versions.items())


def test_what_differs_is_named_also_what_is_new_or_gone():
    assert changes(lock(a="1", b="1", c="1"), lock(a="1", b="2", d="3")) == (
        Change("b", "1", "2"),
        Change("c", "1", None),
        Change("d", None, "3"),
    )


@pytest.mark.parametrize("moving", [set(), {"c"}, {"a", "p"}, {"c", "d", "e"}])
def test_as_many_packages_keep_their_version_as_go_together(moving):
    pins = dict.fromkeys("abcdefghijklmnop", "1")
    tried = []

    def resolve(held):
        tried.append(held)
        if moving & held.keys():
            raise RequirementsRefused("requirements", expected="versions that go together")
        return lock(**{**dict.fromkeys(pins, "2"), **held})

    versions = keep_most(pins, resolve).versions
    assert {name for name, version in versions.items() if version == "2"} == moving
    assert len(tried) <= 1 + 10 * len(moving)


def test_what_goes_with_nothing_is_refused():
    def resolve(_):
        raise RequirementsRefused("requirements", expected="a wheel of `tiny==9`")

    with pytest.raises(RequirementsRefused, match="tiny==9"):
        keep_most({"a": "1"}, resolve)


def test_a_version_that_stays_keeps_the_wheels_that_were_proved():
    proved = lock_of([Pin("a", "1", (f"sha256:{'1' * 64}",)), Pin("b", "1", (f"sha256:{'2' * 64}",))])
    assert with_wheels(lock(a="1", b="2"), proved).pins == (proved.pins[0], lock(b="2").pins[0])


@pytest.fixture
def wheels(tmp_path):
    """Write two versions of four packages: the second of `tiny-trees` needs that of `tiny-scale` and more."""
    for version in ("1.0", "2.0"):
        for name in ("tiny-scale", "tiny-plots", "tiny-words"):
            write_wheel(tmp_path, name, version)
    write_wheel(tmp_path, "tiny-trees", "1.0", requires=["tiny-scale"])
    write_wheel(tmp_path, "tiny-trees", "2.0", requires=["tiny-scale>=2", "tiny-words"])
    return tmp_path


@pytest.fixture
def resolver(wheels):
    return Resolver(wheels=wheels)


@pytest.fixture
def old(resolver):
    names = ["tiny-scale", "tiny-plots", "tiny-trees"]
    return resolver.resolve(names, dict.fromkeys(names, "1.0"))


@pytest.mark.slow
def test_an_upgrade_moves_what_it_needs_and_nothing_else(old, resolver):
    moved = changes(old, upgraded(old, ["tiny-trees==2.0"], resolver))
    assert list(map(str, moved)) == [
        "tiny-scale 1.0 → 2.0",
        "tiny-trees 1.0 → 2.0",
        "tiny-words 2.0, which is new",
    ]
    assert [change.name for change in changes(old, newest(old, resolver))] == [
        "tiny-plots",
        "tiny-scale",
        "tiny-trees",
        "tiny-words",
    ]


def test_an_upgrade_to_what_does_not_exist_says_so(old, resolver):
    with pytest.raises(RequirementsRefused, match=r"a wheel of `tiny-trees==3\.0`") as refused:
        upgraded(old, ["tiny-trees==3.0"], resolver)
    assert "--upgrade" in (refused.value.hint or "")


def test_two_locks_are_mixed_by_package_and_what_does_not_go_together_is_refused(old, resolver):
    new = newest(old, resolver)
    assert [str(change) for change in changes(old, mixed(old, new, {"tiny-plots"}, resolver))] == [
        "tiny-plots 1.0 → 2.0"
    ]
    both = mixed(old, new, {"tiny-trees", "tiny-scale"}, resolver)
    assert both.versions == {**new.versions, "tiny-plots": "1.0"}
    with pytest.raises(RequirementsRefused):
        mixed(old, new, {"tiny-trees"}, resolver)
