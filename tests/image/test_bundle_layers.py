"""Bundles as layers of images."""

from __future__ import annotations

import json

from lading.image import Origin
from lading.image.build import build
from lading.image.bundle_layers import from_bundle, from_registry
from lading.image.layout import LayoutImage
from lading.image.references import open_source
from lading.registry import Registry
from support.built_images import config_of
from support.bundles import linear_bundle
from support.images import tiny_base
from support.python_bundles import python_bundle


def test_the_layer_of_a_bundle_is_the_same_blob_as_in_stores(tmp_path):
    bundle = linear_bundle(tmp_path / "iris.bundle")
    with Registry.open(str(tmp_path / "registry")) as registry:
        version = registry.push(bundle)
        layer = from_registry(version.ref, registry, None)
    target = LayoutImage(tmp_path / "out", None)
    build(open_source(tiny_base(tmp_path / "base")), [layer], target)
    descriptor = json.loads(target.root().data)["layers"][-1]
    assert (descriptor["digest"], descriptor["size"]) == (version.blob, version.size_bytes)
    assert descriptor["mediaType"] == "application/vnd.oci.image.layer.v1.tar"
    assert config_of(f"oci:{tmp_path / 'out'}")["rootfs"]["diff_ids"][-1] == version.blob
    assert (tmp_path / "out" / "blobs" / "sha256" / version.blob[7:]).stat().st_size == version.size_bytes


def test_a_bundle_that_is_open_here_gives_the_same_layer_without_a_version(tmp_path):
    bundle = linear_bundle(tmp_path / "iris.bundle")
    with Registry.open(str(tmp_path / "registry")) as registry:
        version = registry.push(bundle)
        pushed = from_registry(version.ref, registry, "oci://registry.lan/models")
    layer = from_bundle(bundle)
    assert (layer.entry.blob, layer.size_bytes) == (pushed.entry.blob, pushed.size_bytes)
    assert (layer.entry.version, pushed.entry.version) == (0, 1)
    # Only a store in an OCI registry has the blob mounted into the image's repository.
    assert (layer.origin, pushed.origin) == (None, Origin("registry.lan", "models"))


def test_the_layer_of_a_bundle_in_python_has_the_lock_of_its_environment(tmp_path):
    bundle = python_bundle(tmp_path / "doubled.bundle")
    with Registry.open(str(tmp_path / "registry")) as registry:
        version = registry.push(bundle)
        layers = [from_registry(version.ref, registry, None), from_bundle(bundle)]
    for layer in layers:
        assert layer.lock == bundle.lock()
        assert layer.entry.environment == bundle.lock().digest
        assert (layer.entry.python, layer.entry.executes) == ("3.11", "code")
