"""The contents of an image, and the images of a repository."""

from __future__ import annotations

from lading.bundle import Bundle
from lading.image.build import build
from lading.image.inspect import inspect, list_images
from lading.image.references import open_repository, open_source, open_target
from lading.registry import Registry
from support.built_images import build_image


def test_an_image_is_shown_with_its_bundles_and_what_each_layer_is(tmp_path):
    built, layers = build_image(tmp_path)
    contents = inspect(open_source(built.image))
    (platform,) = contents.platforms
    assert (contents.digest, platform.platform) == (built.digest, "linux/amd64")
    assert platform.bundles == [layers[0].entry]
    assert [layer.what for layer in platform.layers] == ["tests", "bundle iris"]
    assert platform.size_bytes == sum(layer.size_bytes for layer in platform.layers) > layers[0].size_bytes


def test_every_platform_of_an_index_is_shown_without_its_attestations(tmp_path):
    built, _ = build_image(tmp_path, architectures=("amd64", "arm64"))
    platforms = inspect(open_source(built.image)).platforms
    assert [platform.platform for platform in platforms] == ["linux/amd64", "linux/arm64"]


def test_a_repository_is_listed_with_the_tags_of_each_image_and_without_artifacts(tmp_path, oci_server):
    place = f"{oci_server.address}/listed/iris"
    built, layers = build_image(tmp_path, to=f"{place}:1")
    target = open_target(f"{place}:stable")
    build(open_source(f"oci:{tmp_path / 'base'}:base"), layers, target)
    target.close()
    with Registry.open(str(tmp_path / "registry"), store=f"oci://{place}") as registry:
        registry.push(Bundle.open(tmp_path / "iris-0.bundle"))  # An artifact beside the image.
    repository = open_repository(place)
    images = list_images(repository)
    repository.close()
    assert [(image.digest, image.tags) for image in images] == [(built.digest, ("1", "stable"))]
    assert [entry.name for entry in images[0].bundles] == ["iris"]
