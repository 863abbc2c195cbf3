"""The labels of an image: what they state, and that others can write anything into them."""

from __future__ import annotations

import msgspec
import pytest

from lading.image.labels import (
    BUNDLES,
    ENVIRONMENTS,
    BundleEntry,
    EnvironmentEntry,
    bundle_labels,
    bundles_in,
    bundles_of,
    environments_in,
)

IRIS = BundleEntry(
    name="iris",
    version=3,
    digest="sha256:ab",
    blob="sha256:cd",
    purpose="classification",
    owner="ml@example.com",
)
WINE = BundleEntry(
    name="wine", version=0, digest="sha256:ef", blob="sha256:01", purpose="", owner="ml@example.com"
)


def test_every_bundle_is_in_the_labels_as_json_and_the_first_one_in_plain_text():
    labels = bundle_labels([IRIS, WINE], "sha256:base")
    assert bundles_of(labels) == [IRIS, WINE]
    assert (labels["com.lading.name"], labels["com.lading.version"]) == ("iris", "3")
    assert labels["org.opencontainers.image.title"] == "iris 3, wine"
    assert labels["org.opencontainers.image.authors"] == "ml@example.com"
    assert labels["org.opencontainers.image.base.digest"] == "sha256:base"


def test_a_bundle_without_a_version_is_labelled_by_its_digest_and_no_label_is_empty():
    labels = bundle_labels([WINE], "")
    assert labels["org.opencontainers.image.version"] == "sha256:ef"
    assert "" not in labels.values()
    assert bundle_labels([], "sha256:base") == {}


def test_an_environment_is_in_the_labels_of_an_image_that_has_one_and_of_no_other():
    environment = EnvironmentEntry(lock="sha256:12", python="3.11", blob="sha256:34")
    waves = msgspec.structs.replace(IRIS, environment="sha256:12", python="3.11", executes="code")
    labels = bundle_labels([waves, WINE], "", [environment])
    assert environments_in({"config": {"Labels": labels}}) == [environment]
    assert bundles_of(labels) == [waves, WINE]
    # What older ones wrote: the same image keeps its digest.
    plain = bundle_labels([IRIS], "")
    assert ENVIRONMENTS not in plain
    assert {"environment", "python", "executes"}.isdisjoint(msgspec.json.decode(plain[BUNDLES])[0])


@pytest.mark.parametrize("text", ["no JSON", "{}", '[{"lock": "sha256:12"}]'])
def test_a_label_that_cannot_be_read_lists_no_environment(text):
    assert environments_in({"config": {"Labels": {ENVIRONMENTS: text}}}) == []


@pytest.mark.parametrize("text", ["", "no JSON", "{}", '[{"name": "iris"}]'])
def test_a_label_that_cannot_be_read_lists_no_bundle(text):
    assert bundles_in({"config": {"Labels": {BUNDLES: text}}}) == []


def test_an_image_without_labels_lists_no_bundle():
    assert bundles_in({}) == bundles_in({"config": {"Labels": None}}) == []
