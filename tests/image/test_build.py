"""Building images from a base and bundles: layers, labels, platforms."""

from __future__ import annotations

import json

import pytest

from lading.errors import (
    DestinationExists,
    ImageInvalid,
    ImageNotFound,
)
from lading.image.build import build, matches_platform
from lading.image.bundle_layers import from_bundle
from lading.image.inspect import inspect
from lading.image.layout import LayoutImage
from lading.image.references import open_source, open_target
from support.built_images import build_image, config_of, tags_in_layout
from support.bundles import linear_bundle
from support.images import put_image, tiny_base


def test_the_same_base_and_bundle_give_the_same_image(tmp_path):
    digests = set()
    for run in ("one", "two"):
        folder = tmp_path / run
        folder.mkdir()
        digests.add(build_image(folder)[0].digest)
    assert len(digests) == 1


def test_an_image_states_its_bundles_and_its_command(tmp_path):
    built, layers = build_image(tmp_path)
    config = config_of(built.image)
    run_config = config["config"]
    command = (run_config["Entrypoint"], run_config["Cmd"], run_config["User"])
    assert command == (["lading"], ["serve"], "65532:65532")
    assert "PATH=/bin" in run_config["Env"]
    assert "LADING_HOST=0.0.0.0" in run_config["Env"]
    labels = run_config["Labels"]
    assert labels["of"] == "the base"
    assert labels["com.lading.digest"] == layers[0].entry.digest
    assert (labels["com.lading.name"], labels["com.lading.owner"]) == ("iris", "ml@example.com")
    assert labels["com.lading.purpose"] == "classification"
    assert config["created"] == "2026-01-02T03:04:05Z"
    assert [step["created_by"] for step in config["history"]] == ["tests", "lading image build iris"]


def test_building_again_to_the_same_target_sends_nothing(tmp_path):
    built, layers = build_image(tmp_path)
    again = build(open_source(f"oci:{tmp_path / 'base'}:base"), layers, open_target(built.image))
    assert (again.digest, again.bytes_sent) == (built.digest, 0)


def test_an_index_keeps_every_platform_and_drops_attestations(tmp_path):
    built, _ = build_image(tmp_path, architectures=("amd64", "arm64"))
    assert set(built.platforms) == {"linux/amd64", "linux/arm64"}
    index = json.loads(open_source(built.image).root().data)
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64", "arm64"]
    contents = inspect(open_source(built.image))
    assert [platform.layers[-1].what for platform in contents.platforms] == ["bundle iris", "bundle iris"]


def test_one_platform_of_an_index_can_be_selected(tmp_path):
    built, _ = build_image(tmp_path, architectures=("amd64", "arm64"), platforms=["linux/arm64"])
    assert list(built.platforms) == ["linux/arm64"]
    assert config_of(built.image)["architecture"] == "arm64"


def test_a_platform_that_the_base_lacks_is_refused(tmp_path):
    with pytest.raises(ImageNotFound, match=r"platform `linux/s390x`, found `linux/amd64`, `linux/arm64`"):
        build_image(tmp_path, architectures=("amd64", "arm64"), platforms=["linux/s390x"])


def test_several_bundles_are_layers_of_one_image(tmp_path):
    built, layers = build_image(tmp_path, "iris", "wine")
    (image,) = inspect(open_source(built.image)).platforms
    assert [entry.name for entry in image.bundles] == ["iris", "wine"]
    assert [layer.diff_id for layer in image.layers[1:]] == [layer.entry.blob for layer in layers]


def test_two_bundles_with_the_same_name_are_refused(tmp_path):
    with pytest.raises(DestinationExists, match="one bundle of this name"):
        build_image(tmp_path, "iris", "iris")


def test_an_image_with_a_bundle_can_be_the_base_of_another(tmp_path):
    built, _ = build_image(tmp_path)
    wine = from_bundle(linear_bundle(tmp_path / "wine.bundle", "wine"))
    both = build(open_source(built.image), [wine], open_target(f"oci:{tmp_path / 'out'}:both"))
    assert [entry.name for entry in both.bundles] == ["iris", "wine"]
    assert tags_in_layout(tmp_path / "out") == {"iris", "both"}


def test_an_artifact_is_refused_as_a_base(tmp_path):
    image = LayoutImage(tmp_path / "artifact", None)
    layer = from_bundle(linear_bundle(tmp_path / "iris.bundle"))
    data = put_image(image, {"config": {"format": "onnx"}}, [layer.blob])
    image.name(data, "application/vnd.oci.image.manifest.v1+json")
    with pytest.raises(ImageInvalid, match="1 layers, as the manifest says, found 0"):
        build(image, [layer], LayoutImage(tmp_path / "out", None))


@pytest.mark.parametrize(
    ("architecture", "variant", "requested", "matches"),
    [
        ("arm64", "", "linux/arm64", True),
        ("arm64", "v8", "linux/arm64", True),
        ("arm64", "v8", "linux/arm64/v8", True),
        ("arm64", "", "linux/arm", False),
        ("arm", "v7", "linux/arm", True),
        ("arm", "v7", "linux/arm/v6", False),
        ("amd64", "", "windows/amd64", False),
    ],
)
def test_a_variant_counts_only_if_it_is_requested(architecture, variant, requested, matches):
    platform = {"architecture": architecture, **({"variant": variant} if variant else {})}
    assert matches_platform(platform, requested) is matches
    assert matches_platform({"os": "linux", **platform}, requested) is matches


def test_a_platform_without_a_variant_selects_any_variant(tmp_path):
    base = open_source(tiny_base(tmp_path / "base", "amd64", "arm64/v8", "arm/v7"))
    target = LayoutImage(tmp_path / "out", "iris")
    assert set(build(base, [], target, platforms=["linux/arm64"]).platforms) == {"linux/arm64/v8"}
    requested = ["linux/arm", "linux/amd64"]
    assert set(build(base, [], target, platforms=requested).platforms) == {"linux/amd64", "linux/arm/v7"}
    with pytest.raises(ImageNotFound, match="expected platform `linux/arm/v6`, found"):
        build(base, [], target, platforms=["linux/amd64", "linux/arm/v6"])


def test_a_base_for_another_platform_is_refused(tmp_path):
    base = open_source(tiny_base(tmp_path / "base", "arm64/v8"))
    target = LayoutImage(tmp_path / "out", "iris")
    assert set(build(base, [], target, platforms=["linux/arm64"]).platforms) == {"linux/arm64/v8"}
    with pytest.raises(ImageNotFound, match="expected platform `linux/amd64`, found `linux/arm64/v8`"):
        build(base, [], target, platforms=["linux/amd64"])
