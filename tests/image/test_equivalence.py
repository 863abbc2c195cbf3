"""Which program an image is verified with, and what the servers that are compared are told."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import msgspec
import pytest

from lading.bundle import Bundle
from lading.errors import ImageInvalid, UsageError
from lading.image.build import BundleLayer, build
from lading.image.bundle_layers import from_bundle
from lading.image.engine import Engine, find_engine
from lading.image.equivalence import verify_image
from lading.image.layout import LayoutImage
from lading.image.references import open_source
from lading.registry import Registry
from support.built_images import build_image
from support.bundles import linear_bundle
from support.images import lading, tiny_base
from support.server_process import serving


@pytest.fixture
def only_docker(tmp_path, monkeypatch) -> Path:
    """Leave docker alone on the path; nothing answers it."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.symlink_to(shutil.which("docker") or "/bin/false")
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    return program


def test_docker_is_for_images_in_registries(only_docker):
    assert find_engine("registry.lan/iris:1") == Engine(str(only_docker))
    assert find_engine("oci:out:iris") is None
    assert find_engine("docker-archive:iris.tar") is None


@pytest.mark.slow
@pytest.mark.parametrize("to", ["oci:{}/out:iris", "docker-archive:{}/iris.tar"])
def test_an_image_that_docker_cannot_pull_is_verified_here(only_docker, tmp_path, to):
    made, _ = build_image(tmp_path, to=to.format(tmp_path))
    lading("image", "verify", made.image, "--against", tmp_path / "iris-0.bundle")


@pytest.mark.slow
def test_servers_that_are_only_compared_are_not_in_the_inventory(tmp_path, monkeypatch):
    monkeypatch.setenv("LADING_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("LADING_DEFAULT_MODEL", "another")
    made, _ = build_image(tmp_path)
    assert verify_image(made.image, linear_bundle(tmp_path / "twin", "iris", seed=0), None).holds
    with Registry.open(str(tmp_path / "registry")) as registry:
        assert registry.fleet.replicas() == []


@pytest.mark.slow
def test_an_image_of_a_registry_that_is_named_insecure_is_pulled_without_tls(
    oci_server, tmp_path, monkeypatch
):
    # There is no name service here for podman to ask: what it is told is written down instead.
    podman = tmp_path / "podman"
    podman.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/said\nexit 1\n')
    podman.chmod(0o755)
    ask, (here, _, port) = socket.getaddrinfo, oci_server.address.partition(":")
    lan = f"registry.lan:{port}"
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda name, *more: ask(name.replace("registry.lan", here), *more)
    )
    monkeypatch.setenv("LADING_INSECURE_REGISTRIES", lan)
    made, _ = build_image(tmp_path, to=f"{lan}/insecure/iris:1")
    with pytest.raises(UsageError, match="expected the image, found nothing"):
        verify_image(made.image, linear_bundle(tmp_path / "twin", "iris", seed=0), Engine(str(podman)))
    assert f"pull --quiet --tls-verify=false {lan}/insecure/iris:1" in (tmp_path / "said").read_text()


def test_an_image_is_not_compared_with_another_version_of_its_bundle(tmp_path):
    made, parts = build_image(tmp_path)
    reference = linear_bundle(tmp_path / "reference", "iris", seed=5)
    # Nothing may be run: an engine whose program does not exist would raise something else.
    engine = Engine(str(tmp_path / "no-such-engine"))
    with pytest.raises(ImageInvalid) as caught:
        verify_image(made.image, reference, engine)
    assert caught.value.expected == f"`{reference.digest}`, the bundle to compare with"
    assert caught.value.found == f"`{parts[0].entry.digest}`"


def test_an_image_whose_labels_name_another_bundle_is_not_evidence_of_it(tmp_path):
    inside, named = (from_bundle(linear_bundle(tmp_path / str(at), seed=at)) for at in (1, 2))
    lying = BundleLayer(
        msgspec.structs.replace(named.entry, blob=inside.entry.blob), inside.size_bytes, inside.write
    )
    target = LayoutImage(tmp_path / "out", "iris")
    build(open_source(tiny_base(tmp_path / "base")), [lying], target)
    with pytest.raises(ImageInvalid, match="as the image's labels state, found `sha256:"):
        verify_image(target.where, Bundle.open(tmp_path / "2"), None)


@pytest.mark.slow
def test_comparing_with_another_version_by_a_slip_leaves_nothing_in_the_registry(tmp_path, only_docker):
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
