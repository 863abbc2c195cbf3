"""Documents of CycloneDX: valid by its schema, the same bytes for the same content, and read back."""

from __future__ import annotations

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from lading.bundle.environment_lock import Pin, lock_of
from lading.errors import InvalidSetting
from lading.trust.components import (
    GENERIC,
    PYPI,
    Component,
    Subject,
    bundle_components,
    bundle_subject,
    server_components,
)
from lading.trust.sbom import read_sbom, sbom_document
from support.bundles import linear_bundle
from support.python_bundles import FILES, python_bundle

HASHES = ("sha256:" + "c" * 64, "sha256:" + "d" * 64)
LIBRARY = Component(
    ecosystem="Debian:12",
    name="libssl3",
    version="3.0.11-1~deb12u1+b1",
    source="openssl",
    source_version="3.0.11-1~deb12u1",
    architecture="amd64",
)
COMPONENTS = (
    LIBRARY,
    Component(ecosystem=PYPI, name="jinja2", version="2.10", part="training"),
    Component(ecosystem=PYPI, name="numpy", version="2.0.0", hashes=HASHES),
    Component(ecosystem=PYPI, name="unpinned"),
    Component(ecosystem=GENERIC, name="debian", version="12"),
    Component(ecosystem=GENERIC, name="python", version="3.11"),
)
SUBJECT = Subject(
    kind="bundle",
    name="iris",
    version="3",
    digest="sha256:" + "a" * 64,
    purpose="classification",
    owner="ml@example.com",
    datasets=("sha256:" + "b" * 64,),
)


def validated(text):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    return json.loads(text)


@pytest.mark.parametrize("kind", ["bundle", "image", "server"])
def test_a_document_is_valid_by_the_schema(kind):
    document = validated(sbom_document(Subject(kind=kind, name="iris"), COMPONENTS))
    assert document["specVersion"] == "1.6"
    assert len(document["components"]) == len(COMPONENTS)
    assert validated(sbom_document(Subject(kind=kind, name="iris"), ()))["metadata"]


def test_a_model_states_its_digest_version_purpose_and_data():
    model = validated(sbom_document(SUBJECT, COMPONENTS))["metadata"]["component"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "iris", "3")
    assert model["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert {(each["name"], each["value"]) for each in model["properties"]} == {
        ("lading:digest", "sha256:" + "a" * 64),
        ("lading:purpose", "classification"),
        ("lading:owner", "ml@example.com"),
        ("lading:dataset", "sha256:" + "b" * 64),
    }


def test_libraries_have_their_package_url_their_hashes_and_whether_they_run():
    document = validated(sbom_document(SUBJECT, COMPONENTS))
    by_name = {each["name"]: each for each in document["components"]}
    assert by_name["numpy"]["purl"] == "pkg:pypi/numpy@2.0.0"
    assert [each["content"] for each in by_name["numpy"]["hashes"]] == ["c" * 64, "d" * 64]
    assert (by_name["numpy"]["scope"], by_name["jinja2"]["scope"]) == ("required", "excluded")
    assert by_name["libssl3"]["purl"] == (
        "pkg:deb/debian/libssl3@3.0.11-1~deb12u1%2Bb1"
        "?arch=amd64&distro=debian-12&upstream=openssl%403.0.11-1~deb12u1"
    )
    own = next(each for each in document["dependencies"] if each["ref"] == SUBJECT.digest)
    assert len(own["dependsOn"]) == len(COMPONENTS)


def test_the_same_content_gives_the_same_bytes():
    first = sbom_document(SUBJECT, COMPONENTS)
    assert first == sbom_document(SUBJECT, COMPONENTS)
    assert first != sbom_document(SUBJECT, COMPONENTS[1:])
    assert "timestamp" not in first


def test_a_document_is_read_back_as_what_it_was_written_from():
    subject, components = read_sbom(sbom_document(SUBJECT, COMPONENTS))
    assert (subject.name, subject.version, subject.digest) == ("iris", "3", SUBJECT.digest)
    # A document of others has no hashes that a scan would need.
    assert {(each.ecosystem, each.title, each.source_version, each.part) for each in components} == {
        (each.ecosystem, each.title, each.source_version, each.part) for each in COMPONENTS
    }


@pytest.mark.parametrize(
    "text", ["", "{}", '{"bomFormat": "SPDX"}', '{"bomFormat": "CycloneDX", "components": 3}']
)
def test_what_is_no_document_of_cyclonedx_is_refused(text):
    with pytest.raises(InvalidSetting, match="expected CycloneDX as JSON"):
        read_sbom(text)


def test_nested_components_and_those_without_a_package_url_are_read():
    inner = {"name": "numpy", "purl": "pkg:pypi/numpy@2.0.0"}
    outer = {"name": "wheel", "purl": "not one", "components": [inner, {"name": "file"}]}
    _, components = read_sbom(json.dumps({"bomFormat": "CycloneDX", "components": [outer]}))
    assert [each.title for each in components] == ["numpy 2.0.0"]


def test_a_bundle_in_onnx_lists_what_it_was_trained_with(tmp_path):
    bundle = linear_bundle(tmp_path / "iris.bundle")
    components = bundle_components(bundle)
    assert [(each.title, each.part) for each in components] == [
        ("numpy 2.0.0", "training"),
        ("onnxruntime 1.20.0", "training"),
    ]
    validated(sbom_document(bundle_subject(bundle, "1"), components))


def test_a_bundle_in_python_lists_its_lock_with_hashes_and_its_python(tmp_path):
    lock = lock_of([Pin("numpy", "2.0.0", HASHES), Pin("jinja2", "2.10", HASHES[:1])])
    bundle = python_bundle(tmp_path / "doubled.bundle", FILES | {"environment.lock": lock.to_bytes()})
    components = bundle_components(bundle)
    runs = {each.title: each.hashes for each in components if each.part == "runs"}
    assert runs == {"numpy 2.0.0": HASHES, "jinja2 2.10": HASHES[:1], f"python {bundle.manifest.python}": ()}
    validated(sbom_document(bundle_subject(bundle), components))


def test_a_server_lists_its_packages_its_python_and_its_system():
    components = server_components({"Big_Tables": "1.0"}, "3.11.7", "debian 12")
    assert [(each.ecosystem, each.title) for each in components] == [
        ("PyPI", "big-tables 1.0"),
        ("generic", "debian 12"),
        ("generic", "python 3.11.7"),
    ]
