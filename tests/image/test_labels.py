"""The labels of an image: what they state, and that others can write anything into them."""

from __future__ import annotations

import pytest

from lading.image.labels import BUNDLES, BundleEntry, bundle_labels, bundles_in, bundles_of

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


@pytest.mark.parametrize("text", ["", "no JSON", "{}", '[{"name": "iris"}]'])
def test_a_label_that_cannot_be_read_lists_no_bundle(text):
    assert bundles_in({"config": {"Labels": {BUNDLES: text}}}) == []


def test_an_image_without_labels_lists_no_bundle():
    assert bundles_in({}) == bundles_in({"config": {"Labels": None}}) == []
