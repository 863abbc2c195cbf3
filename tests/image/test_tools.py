"""Images and artifacts as other tools read them: skopeo, umoci, podman and ORAS."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

import httpx
import pytest

from support.image_environment import address, manifest_of, start_container, wait_ready
from support.images import ARCHITECTURE, run, tiny_base

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("containers")]


def test_skopeo_umoci_and_podman_accept_the_image(registries, iris, tmp_path):
    remote = f"docker://{iris['image']}"
    inspected = json.loads(run("skopeo", "inspect", "--tls-verify=false", remote))
    assert (inspected["Digest"], inspected["Architecture"]) == (iris["digest"], ARCHITECTURE)
    assert inspected["Labels"]["com.lading.digest"] == iris["bundles"][0]["digest"]
    # Without `--preserve-digests`, skopeo compresses layers, which makes another image.
    run(
        "skopeo",
        "copy",
        "--quiet",
        "--preserve-digests",
        "--src-tls-verify=false",
        remote,
        f"oci:{tmp_path / 'copy'}:iris",
    )
    copied = json.loads((tmp_path / "copy" / "index.json").read_text())["manifests"]
    assert [entry["digest"] for entry in copied] == [iris["digest"]]
    run("umoci", "unpack", "--image", f"{tmp_path / 'copy'}:iris", str(tmp_path / "unpacked"))
    inside = tmp_path / "unpacked" / "rootfs" / "lading" / "bundles" / "iris" / "bundle.json"
    assert inside.read_bytes() == (registries.folder / "iris-1.bundle" / "bundle.json").read_bytes()
    run("podman", "pull", "--quiet", iris["image"])
    shutil.rmtree(tmp_path)


def test_podman_runs_layouts_and_archives(registries, iris, tmp_path):
    layout, archive = (
        f"oci:{tmp_path / 'layout'}:iris",
        f"docker-archive:{tmp_path / 'iris.tar'}:lading.test/iris:1",
    )
    for to in (layout, archive):
        registries.lading("image", "build", "iris:1", "--base", registries.runtime, "--to", to)
    contents = [
        json.loads(registries.lading("image", "inspect", image, "--json")) for image in (layout, archive)
    ]
    assert [image["platforms"][0]["bundles"] for image in contents] == [iris["bundles"]] * 2
    run("podman", "load", "--quiet", "--input", str(tmp_path / "iris.tar"))
    for image in (f"oci:{tmp_path / 'layout'}:iris", "lading.test/iris:1"):
        identity = start_container(image)
        url = "http://" + address(identity, "http")
        wait_ready(url)
        assert httpx.get(f"{url}/models/iris").json()["digest"] == iris["bundles"][0]["digest"]
        run("podman", "rm", "--force", "--time=5", identity)


ORAS = """
import json, sys, oras.client
client = oras.client.OrasClient(insecure=True)
manifest = client.get_manifest(sys.argv[1])
files = client.pull(target=sys.argv[1], outdir=sys.argv[2])
print(json.dumps([manifest, client.get_tags(sys.argv[1]), files]))
"""


def test_the_oras_client_gets_the_same_blob_from_image_and_artifact(registries, iris, tmp_path):
    with registries.open() as registry:
        blob = registry.resolve("iris:1").blob
    digests = {}
    for kind, target in (
        ("image", iris["image"]),
        ("artifact", f"{registries.address}/registries/models:iris-1"),
    ):
        # Without the digest, because this client only accepts tags.
        command = (sys.executable, "-c", ORAS, target.partition("@")[0], str(tmp_path / kind))
        manifest, tags, files = json.loads(run(*command).splitlines()[-1])
        assert manifest == manifest_of(*target.partition("@")[0].rsplit(":", 1))
        digests[kind] = hashlib.sha256(Path(files[-1]).read_bytes()).hexdigest()
        expected = {"image": {"1"}, "artifact": {"iris-1", blob.replace("sha256:", "blob-")}}
        assert expected[kind] <= set(tags)
    assert set(digests.values()) == {blob.removeprefix("sha256:")}
    shutil.rmtree(tmp_path)


def test_every_platform_of_an_index_can_be_fetched_from_the_registry(registries, iris, tmp_path):
    base = tiny_base(tmp_path / "base", "amd64", "arm64")
    image = f"{registries.address}/both-platforms:1"
    registries.lading("image", "build", "iris:1", "--base", base, "--to", image)
    with registries.open() as registry:
        blob = registry.resolve("iris:1").blob
    for architecture in ("amd64", "arm64"):
        command = ("skopeo", "inspect", f"--override-arch={architecture}", "--tls-verify=false")
        inspected = json.loads(run(*command, f"docker://{image}"))
        assert (inspected["Architecture"], inspected["Layers"][-1]) == (architecture, blob)
