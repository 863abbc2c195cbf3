"""The OCI store with a real registry, cut off, stopped and damaged, and with other tools."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import threading

import pytest

import lading.oci
import lading.oci.upload
from lading.blobs.retry import Retry
from lading.errors import BlobNotFound, DigestMismatch, RegistryUnavailable
from lading.oci import Repository
from lading.oci.transport import Transport
from lading.registry import Registry
from lading.registry.store.oci import ARTIFACT_TYPE, CONFIG_TYPE, LAYER_TYPE
from support.bundles import linear_bundle
from support.oci_stores import (
    BODY,
    DIGEST,
    close_all,
    put,
    read,
    registry_of_its_own,
    repository_at,
    store_at,
)
from support.store_servers import docker_registry, proxy

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _closed():
    yield
    close_all()


@pytest.fixture
def name(oci_url) -> str:
    return oci_url.partition("//")[2].partition("/")[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return linear_bundle(tmp_path_factory.mktemp("bundle") / "iris")


# What other tools see.


def test_the_artifact_describes_the_version_without_the_catalog(oci_url, bundle, tmp_path):
    with Registry.open(str(tmp_path / "registry"), store=oci_url) as registry:
        version = registry.push(bundle)
    manifest = json.loads(skopeo("inspect", "--raw", f"{docker(oci_url)}:iris-1"))
    assert manifest["artifactType"] == ARTIFACT_TYPE
    assert manifest["config"]["mediaType"] == CONFIG_TYPE
    (layer,) = manifest["layers"]
    assert (layer["mediaType"], layer["digest"]) == (LAYER_TYPE, version.blob)
    annotations = manifest["annotations"]
    assert (annotations["lading.name"], annotations["lading.version"]) == ("iris", "1")
    assert (annotations["lading.digest"], annotations["lading.owner"]) == (bundle.digest, "ml@example.com")
    assert annotations["lading.purpose"] == "classification"
    assert annotations["org.opencontainers.image.title"] == "iris 1"
    assert manifest == json.loads(skopeo("inspect", "--raw", f"{docker(oci_url)}:{blob_tag(version.blob)}"))


def test_the_configuration_has_the_three_parts_of_model_pack_and_no_unknown_key(oci_url, bundle, tmp_path):
    with Registry.open(str(tmp_path / "registry"), store=oci_url) as registry:
        version = registry.push(bundle)
    config = json.loads(skopeo("inspect", "--config", "--raw", f"{docker(oci_url)}:iris-1"))
    # Compared as a whole: ModelPack's schema/config-schema.json requires these parts with these types, and
    # allows no other key anywhere.
    assert config == {
        "descriptor": {
            "name": "iris",
            "version": "1",
            "description": bundle.manifest.description,
            "authors": ["ml@example.com"],
        },
        "config": {"format": "onnx"},
        "modelfs": {"type": "layers", "diffIds": [version.blob]},
    }


@pytest.mark.parametrize("form", ["oci", "dir"])
def test_skopeo_copies_the_artifact_with_the_same_blob(oci_url, bundle, tmp_path, form):
    with Registry.open(str(tmp_path / "registry"), store=oci_url) as registry:
        version = registry.push(bundle)
    skopeo("copy", "--src-tls-verify=false", f"{docker(oci_url)}:iris-1", f"{form}:{tmp_path / 'copy'}")
    blobs = {path.name: path for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    copied = blobs[version.blob.removeprefix("sha256:")].read_bytes()
    assert f"sha256:{hashlib.sha256(copied).hexdigest()}" == version.blob


def test_an_artifact_that_skopeo_copied_to_another_repository_can_be_pulled_from_there(
    oci_server, oci_url, bundle, tmp_path
):
    elsewhere = f"{oci_url}-mirror"
    with Registry.open(str(tmp_path / "registry"), store=oci_url) as registry:
        version = registry.push(bundle)
    tag = blob_tag(version.blob)
    insecure = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    skopeo("copy", *insecure, f"{docker(oci_url)}:{tag}", f"{docker(elsewhere)}:{tag}")
    with Registry.open(str(tmp_path / "registry"), store=elsewhere) as registry:
        assert registry.pull("iris:1", tmp_path / "pulled").digest == bundle.digest


def test_the_client_of_oras_pulls_the_tar(oci_url, bundle, tmp_path):
    with Registry.open(str(tmp_path / "registry"), store=oci_url) as registry:
        version = registry.push(bundle)
    script = (
        "import sys, oras.client\n"
        "client = oras.client.OrasClient(insecure=True)\n"
        "print(*client.pull(target=sys.argv[1], outdir=sys.argv[2]))\n"
    )
    target = oci_url.removeprefix("oci://") + ":iris-1"
    command = [sys.executable, "-c", script, target, str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    copied = (tmp_path / "out" / "iris-1.bundle.tar").read_bytes()
    assert f"sha256:{hashlib.sha256(copied).hexdigest()}" == version.blob


def test_pushing_again_moves_the_tags_and_leaves_one_artifact(oci_url, bundle, tmp_path):
    repository = repository_of(oci_url)
    with Registry.open(str(tmp_path / "registry"), store=oci_url) as registry:
        version = registry.push(bundle)
        first = repository.manifest("iris-1")
        assert registry.push(bundle) == version
    again = repository.manifest("iris-1")
    assert again == repository.manifest(blob_tag(version.blob))
    assert first.digest != again.digest
    assert repository.manifest(first.digest) is None
    assert repository.tags() == [blob_tag(version.blob), "iris-1"]


def test_a_bundle_that_was_removed_and_pushed_again_loses_its_old_tag(oci_url, bundle, tmp_path):
    with Registry.open(str(tmp_path / "registry"), store=oci_url) as registry:
        registry.push(bundle)
        registry.remove("iris:1")
        version = registry.push(bundle)
        assert repository_of(oci_url).tags() == [blob_tag(version.blob), "iris-2"]
        registry.remove("iris:2")
        registry.gc(older_than_s=0)
        assert repository_of(oci_url).tags() == []


@pytest.mark.parametrize("exists", [False, True])
def test_a_push_succeeds_though_gc_removes_the_blob_before_any_of_its_requests(
    oci_url, bundle, tmp_path, monkeypatch, exists
):
    host, _, name = oci_url.partition("//")[2].partition("/")
    collector, once = store_at(host, name), Transport.once
    with Registry.open(str(tmp_path / "registry"), store=oci_url) as registry:
        add, version, moments = registry.catalog.versions.add, registry.push(bundle), 0
        to_come: list[int] = []

        def request(transport, *arguments, **options):
            if to_come and to_come[0] == 0:
                to_come.clear()
                collector.delete(version.blob)
            elif to_come:
                to_come[0] -= 1
            return once(transport, *arguments, **options)

        def add_alone(*arguments):
            # From here on no `gc` removes anything, until the version names the blob.
            reached.append(not to_come)
            to_come.clear()
            return add(*arguments)

        monkeypatch.setattr(registry.catalog.versions, "add", add_alone)
        monkeypatch.setattr(Transport, "once", request)
        reached = [True]
        while reached[-1]:
            registry.remove(version.ref)
            if not exists:
                collector.delete(version.blob)
            to_come[:] = [moments]
            version = registry.push(bundle)
            assert registry.pull(version.ref, tmp_path / str(moments)).digest == bundle.digest
            moments += 1
    assert moments > 4


def test_a_blob_tag_with_another_manifest_is_reported(oci_server, name):
    store = store_at(oci_server.address, name)
    digest = put(store, b"small")
    repository = repository_at(oci_server.address, name)
    repository.put_manifest(blob_tag(f"sha256:{1:064x}"), repository.manifest(blob_tag(digest)).data)
    with pytest.raises(RegistryUnavailable, match="an artifact of lading under the tag"):
        list(store.blobs())


# Broken connections.


def test_a_download_continues_where_the_connection_broke(oci_server, name):
    with proxy(oci_server.address) as way:
        put(store_at(oci_server.address, name))
        way.cut_after, way.cuts = 6 << 20, 2
        assert read(store_at(way.address, name)) == BODY
        assert way.cuts == 0


def test_an_upload_that_the_registry_lost_half_way_starts_over(oci_server, name):
    # docker-registry drops an upload of which it received half a chunk.
    with proxy(oci_server.address) as way:
        way.cut_after, way.cuts = 12 << 20, 1
        put(store_at(way.address, name))
        assert way.cuts == 0
    assert read(store_at(oci_server.address, name)) == BODY


def test_an_upload_continues_after_the_registry_was_restarted(tmp_path):
    server = docker_registry(tmp_path)
    back = []

    def start_again() -> None:
        back.append(docker_registry(tmp_path, address=server.address))

    def write(out) -> None:
        out.write(BODY[: 10 << 20])
        server.stop(signal.SIGKILL)
        timer.start()
        out.write(BODY[10 << 20 :])
        writes.append(len(BODY))

    timer, writes = threading.Timer(0.5, start_again), []
    try:
        store = store_at(server.address, retry=Retry(attempts=8, first_s=0.1))
        store.put(write, DIGEST, len(BODY))
        assert writes == [len(BODY)]
        assert read(store) == BODY
    finally:
        timer.join()
        for restarted in back:
            restarted.stop()


def test_a_registry_lost_during_an_upload_leaves_no_version(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(lading.oci.upload, "CHUNK_BYTES", 1000)
    server = docker_registry(tmp_path / "server")
    url = f"oci://{server.address}/models"

    def stop(done: int, total: int) -> None:
        if done > total / 2 and not stopped:
            stopped.append(server.stop(signal.SIGKILL))

    stopped = []
    with Registry.open(str(tmp_path / "registry"), store=url) as registry:
        with pytest.raises(RegistryUnavailable, match="no answer") as caught:
            registry.push(bundle, on_progress=stop)
        assert stopped
        assert registry.models() == []
        assert "is the registry running" in caught.value.hint
        with registry_of_its_own(tmp_path / "server", address=server.address):
            assert registry.push(bundle).version == 1
            assert registry.pull("iris", tmp_path / "pulled").digest == bundle.digest


def test_a_registry_lost_during_a_download_leaves_nothing_in_the_cache(bundle, tmp_path, oci_url):
    root = tmp_path / "registry"
    with proxy(host_of(oci_url)) as way:
        with Registry.open(str(root), store=oci_url) as registry:
            registry.push(bundle)
        cut_off = oci_url.replace(host_of(oci_url), way.address)
        way.cut_after, way.cuts, way.ends = 2000, 1, True
        with Registry.open(str(root), store=cut_off) as registry:
            with pytest.raises(RegistryUnavailable, match="no answer"):
                registry.fetch("iris")
            way.cuts, way.gone = 1, False
            with pytest.raises(RegistryUnavailable, match="no answer"):
                registry.pull("iris", tmp_path / "pulled")
            assert list((root / "cache").rglob("*")) in ([], [root / "cache" / "unpacking"])
            assert not (tmp_path / "pulled").exists()
            way.ends, way.gone = False, False
            assert registry.fetch("iris").digest == bundle.digest


def test_a_host_on_which_nothing_listens_gives_no_answer():
    store = store_at("127.0.0.1:1")
    with pytest.raises(RegistryUnavailable, match=r"127\.0\.0\.1:1/models.*no answer"):
        store.has(DIGEST)


# Damage.


@pytest.mark.parametrize("harm", [lambda data: data[:-100], lambda data: data[:50] + b"?" + data[51:]])
def test_a_blob_damaged_in_the_registry_is_refused_and_leaves_nothing(bundle, tmp_path, harm):
    with registry_of_its_own(tmp_path / "server") as server:
        root = tmp_path / "registry"
        with Registry.open(str(root), store=f"oci://{server.address}/models") as registry:
            version = registry.push(bundle)
            (data,) = (tmp_path / "server" / "data").rglob(f"{version.blob[7:]}/data")
            data.write_bytes(harm(data.read_bytes()))
            with pytest.raises(Exception, match="expected") as caught:
                registry.fetch("iris")
            assert version.blob in caught.value.hint
            with pytest.raises(Exception, match="expected"):
                registry.pull("iris", tmp_path / "pulled")
            assert not (tmp_path / "pulled").exists()
            assert [path.name for path in (root / "cache").iterdir()] == ["unpacking"]


def test_bytes_after_the_end_of_the_tar_are_checked_as_well(oci_server, name, tmp_path):
    with registry_of_its_own(tmp_path) as server:
        store = store_at(server.address)
        digest = put(store, b"a" * 3_000_000)
        (data,) = (tmp_path / "data").rglob(f"{digest[7:]}/data")
        data.write_bytes(b"a" * 2_999_999 + b"b")
        with pytest.raises(DigestMismatch, match=digest), store.open(digest) as source:
            source.read()


# What registries differ in.


def test_a_registry_that_deletes_nothing_is_reported_with_a_hint(tmp_path):
    with registry_of_its_own(tmp_path, deletes=False) as server:
        store = store_at(server.address)
        digest = put(store, b"kept")
        put(store, b"kept")  # Its old artifact stays as well, without a tag.
        assert [blob.digest for blob in store.blobs()] == [digest]
        with pytest.raises(RegistryUnavailable, match="this registry deletes nothing") as caught:
            store.delete(digest)
        assert "storage.delete.enabled" in caught.value.hint


def test_a_blob_that_does_not_exist_is_not_found(oci_server, name):
    with pytest.raises(BlobNotFound, match=DIGEST):
        store_at(oci_server.address, name).open(DIGEST)


def repository_of(url: str) -> Repository:
    host, _, name = url.removeprefix("oci://").partition("/")
    return repository_at(host, name)


def host_of(url: str) -> str:
    return url.removeprefix("oci://").partition("/")[0]


def docker(url: str) -> str:
    return url.replace("oci://", "docker://")


def blob_tag(digest: str) -> str:
    return digest.replace("sha256:", "blob-")


def skopeo(command: str, *arguments: str) -> str:
    insecure = ["--tls-verify=false"] if command == "inspect" else []
    done = subprocess.run(
        ["skopeo", command, *insecure, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
