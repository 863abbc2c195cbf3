"""Comparing an image with its bundle: what is run, what is compared, and what is refused."""

from __future__ import annotations

import json
import socket

import msgspec
import pytest

from lading.bundle import Bundle
from lading.errors import ImageInvalid, UsageError
from lading.image.build import BundleLayer, build
from lading.image.bundle_layers import from_bundle
from lading.image.engine import Engine
from lading.image.equivalence import compare, comparison_inputs, verify_image
from lading.image.layout import LayoutImage
from lading.image.references import open_source
from lading.registry import Registry
from support.built_images import build_image
from support.bundles import linear_bundle
from support.images import lading, tiny_base
from support.server_process import serving


@pytest.mark.slow
@pytest.mark.parametrize("to", ["oci:{}/out:iris", "docker-archive:{}/iris.tar"])
def test_an_image_that_docker_cannot_pull_is_verified_by_the_runtime_of_this_machine(
    only_docker, tmp_path, to
):
    built, _ = build_image(tmp_path, to=to.format(tmp_path))
    lading("image", "verify", built.image, "--against", tmp_path / "iris-0.bundle")


@pytest.mark.slow
def test_servers_started_for_a_comparison_are_not_in_the_inventory(tmp_path, monkeypatch):
    monkeypatch.setenv("LADING_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("LADING_DEFAULT_MODEL", "another")
    built, _ = build_image(tmp_path)
    assert verify_image(built.image, linear_bundle(tmp_path / "reference", "iris", seed=0), None).holds
    with Registry.open(str(tmp_path / "registry")) as registry:
        assert registry.fleet.replicas() == []


@pytest.mark.slow
def test_an_image_of_an_insecure_registry_is_pulled_without_tls(oci_server, tmp_path, monkeypatch):
    # There is no name service here that podman could use: a script records its arguments instead.
    podman = tmp_path / "podman"
    podman.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nexit 1\n')
    podman.chmod(0o755)
    resolve, (host, _, port) = socket.getaddrinfo, oci_server.address.partition(":")
    lan = f"registry.lan:{port}"
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda name, *more: resolve(name.replace("registry.lan", host), *more)
    )
    monkeypatch.setenv("LADING_INSECURE_REGISTRIES", lan)
    built, _ = build_image(tmp_path, to=f"{lan}/insecure/iris:1")
    with pytest.raises(UsageError, match="expected the image, found nothing"):
        verify_image(built.image, linear_bundle(tmp_path / "reference", "iris", seed=0), Engine(str(podman)))
    assert f"pull --quiet --tls-verify=false {lan}/insecure/iris:1" in (tmp_path / "calls").read_text()


def test_an_image_is_not_compared_with_another_version_of_its_bundle(tmp_path):
    built, layers = build_image(tmp_path)
    reference = linear_bundle(tmp_path / "reference", "iris", seed=5)
    # Nothing may be run: an engine whose program does not exist would raise something else.
    engine = Engine(str(tmp_path / "no-such-engine"))
    with pytest.raises(ImageInvalid) as caught:
        verify_image(built.image, reference, engine)
    assert caught.value.expected == f"`{reference.digest}`, the bundle to compare with"
    assert caught.value.found == f"`{layers[0].entry.digest}`"


@pytest.mark.slow
def test_an_image_whose_labels_name_another_bundle_is_refused(tmp_path):
    actual, stated = (from_bundle(linear_bundle(tmp_path / str(seed), seed=seed)) for seed in (1, 2))
    entry = msgspec.structs.replace(stated.entry, blob=actual.entry.blob)
    mislabelled = BundleLayer(entry, actual.size_bytes, actual.write)
    target = LayoutImage(tmp_path / "out", "iris")
    build(open_source(tiny_base(tmp_path / "base")), [mislabelled], target)
    with pytest.raises(ImageInvalid, match="as the image's labels state, found `sha256:"):
        verify_image(target.where, Bundle.open(tmp_path / "2"), None)


@pytest.mark.slow
def test_comparing_with_the_wrong_version_records_no_evidence(tmp_path, only_docker):
    environ = {"LADING_REGISTRY": str(tmp_path / "registry"), "LADING_IMAGE": f"sha256:{'a' * 64}"}
    base = tiny_base(tmp_path / "base")
    for seed in (1, 2):
        lading("push", linear_bundle(tmp_path / str(seed), seed=seed).path, environ=environ)
    image = f"oci:{tmp_path / 'out'}:iris"
    lading("image", "build", "iris:1", "--base", base, "--to", image, environ=environ)
    lading("image", "verify", image, "--against", "iris:2", environ=environ, code=1)
    assert json.loads(lading("matrix", "iris", "--json", environ=environ))["evidence"] == []
    with serving("iris:1", environ=environ) as server:
        server.wait_until(lambda: "is ready" in server.log)


def test_the_comparison_rows_are_reproducible_and_fit_the_signature(tmp_path):
    bundle = linear_bundle(tmp_path / "iris.bundle")
    first, second = list(comparison_inputs(bundle)), list(comparison_inputs(bundle))
    assert [title for title, _ in first] == [title for title, _ in second]
    for (_, inputs), (_, repeated) in zip(first, second, strict=True):
        assert (inputs["X"] == repeated["X"]).all()
        bundle.manifest.signature.cast(inputs)


@pytest.mark.slow
def test_servers_of_different_bundles_give_different_answers(tmp_path):
    bundle, other = (linear_bundle(tmp_path / str(seed), seed=seed) for seed in (1, 2))
    with serving(bundle.path) as first, serving(other.path) as second:
        same, differing = compare(first.url, first.url, bundle), compare(first.url, second.url, bundle)
    assert (same.differing, same.check().outcome) == (0, "passed")
    assert (differing.differing, differing.check().outcome) == (differing.rows, "failed")


@pytest.mark.slow
def test_without_an_engine_the_bundle_is_served_by_the_runtime_of_this_machine(tmp_path):
    built, _ = build_image(tmp_path)
    evidence = verify_image(built.image, linear_bundle(tmp_path / "reference", "iris", seed=0), None)
    assert evidence.holds
    assert {"bundle", "equivalence"} <= {check.name for check in evidence.checks}


def test_an_image_without_the_model_is_refused(tmp_path):
    built, _ = build_image(tmp_path)
    with pytest.raises(ImageInvalid, match="a bundle `wine`, found `iris`"):
        verify_image(built.image, linear_bundle(tmp_path / "reference", "wine"), None)
