"""What a bundle or a server consists of, each package once and under its normal name."""

from __future__ import annotations

from lading.bundle.environment_lock import Pin, lock_of
from lading.trust.components import (
    GENERIC,
    PYPI,
    Component,
    bundle_components,
    bundle_subject,
    merged,
    server_components,
)
from support.python_bundles import FILES, python_bundle

HASH = ("sha256:" + "c" * 64,)


def test_a_package_that_runs_and_was_present_in_training_is_listed_once(tmp_path, bundle):
    trained = {each.name: each for each in bundle_components(bundle) if each.part == "training"}
    numpy = next(each for each in trained.values() if each.name == "numpy")
    lock = lock_of([Pin("numpy", numpy.version, HASH), Pin("pyyaml", "5.1", HASH)])
    python = python_bundle(tmp_path / "b", FILES | {"environment.lock": lock.to_bytes()})
    listed = bundle_components(python)
    assert {each.name for each in listed if each.part == "runs"} >= {"numpy", "pyyaml", "python"}
    assert len({(each.name, each.version) for each in listed}) == len(listed)
    (pinned,) = [each for each in listed if each.name == "pyyaml"]
    assert pinned.hashes == HASH


def test_a_model_in_onnx_runs_nothing_of_its_own(bundle):
    assert {each.part for each in bundle_components(bundle)} == {"training"}


def test_the_subject_of_a_bundle_is_its_digest_and_its_version_in_a_registry(bundle):
    subject = bundle_subject(bundle, "3")
    assert (subject.kind, subject.name, subject.version) == ("bundle", "iris", "3")
    assert subject.digest == bundle.digest


def test_a_server_states_packages_under_normal_names_its_python_and_its_system():
    listed = server_components({"Big.Tables_x": "1"}, "3.11.7", "debian 12")
    assert {(each.ecosystem, each.title) for each in listed} == {
        (PYPI, "big-tables-x 1"),
        (GENERIC, "python 3.11.7"),
        (GENERIC, "debian 12"),
    }
    assert server_components({}, "", "") == ()


def test_lists_are_merged_with_each_component_once_in_one_order():
    first, second = (Component(ecosystem=PYPI, name=name, version="1") for name in ("a", "b"))
    assert merged([second, first], [first]) == merged([first], [second]) == (first, second)
