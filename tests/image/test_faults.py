"""Images with parts that were damaged, and builds that are broken off: an error or a whole image."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lading.blobs.retry import Retry
from lading.errors import ImageInvalid, ImageNotFound, RegistryUnavailable
from lading.image import read_config, read_manifest
from lading.image.build import BundleLayer, build
from lading.image.bundle_layers import from_bundle
from lading.image.inspect import inspect
from lading.image.layout import LayoutImage
from lading.image.references import open_source, open_target
from lading.image.remote import RemoteImage
from lading.oci import Repository
from support.built_images import build_image
from support.bundles import linear_bundle
from support.images import lading, tiny_base
from support.store_servers import Proxy


def test_a_damaged_manifest_is_refused(tmp_path):
    made, _ = build_image(tmp_path)
    path = tmp_path / "out" / "blobs" / "sha256" / made.digest[7:]
    path.write_bytes(path.read_bytes().replace(b"iris", b"wine"))
    with pytest.raises(ImageInvalid, match="expected `sha256:"):
        inspect(open_source(made.image))


def changed_in_archive(path: Path, old: bytes, new: bytes) -> None:
    """Change bytes in every member of a docker archive, of the same length."""
    with tarfile.open(path) as archive:
        files = [(one, archive.extractfile(one).read()) for one in archive if one.isfile()]
    with tarfile.open(path, "w") as archive:
        for member, data in files:
            archive.addfile(member, io.BytesIO(data.replace(old, new)))


@pytest.mark.parametrize("kind", ["oci", "docker-archive"])
def test_a_configuration_that_was_changed_is_no_base_and_is_not_shown(tmp_path, kind):
    name = f"{kind}:{tmp_path / 'image'}"
    made, _ = build_image(tmp_path, to=f"{name}:iris")
    if kind == "oci":
        manifest = json.loads(open_source(made.image).root().data)
        path = tmp_path / "image" / "blobs" / "sha256" / manifest["config"]["digest"][7:]
        path.write_bytes(path.read_bytes().replace(b"65532:65532", b"00000:00000"))
    else:
        changed_in_archive(tmp_path / "image", b"65532:65532", b"00000:00000")
    wine = from_bundle(linear_bundle(tmp_path / "wine.bundle", "wine"))
    for read in (inspect, lambda source: build(source, [wine], LayoutImage(tmp_path / "more", None))):
        with pytest.raises(
            ImageInvalid, match=r"blobs/sha256/\w+` ?.*: expected `sha256:\w+`, found `sha256:"
        ):
            read(open_source(name))
    assert not (tmp_path / "more" / "index.json").exists()


def test_a_configuration_of_another_size_than_the_manifest_says_is_refused(tmp_path):
    source = open_source(tiny_base(tmp_path / "base"))
    manifest = read_manifest(source.root(), source.where)
    config = msgspec.structs.replace(manifest.config, size=manifest.config.size + 1)
    with pytest.raises(ImageInvalid, match="as the manifest says, found"):
        read_config(source, msgspec.structs.replace(manifest, config=config))


@pytest.mark.parametrize("data", [b"no JSON", b"[1]", b"\xff", b'{"mediaType": 1}'])
def test_a_manifest_that_is_none_is_said_and_not_a_defect(tmp_path, data):
    name = f"oci:{tmp_path / 'image'}"
    LayoutImage(tmp_path / "image", None).name(data, "application/vnd.oci.image.manifest.v1+json")
    lading("image", "inspect", name, code=1)


@pytest.mark.parametrize("harm", ["other bytes", "cut off"])
def test_a_damaged_layer_of_the_base_is_no_part_of_an_image(tmp_path, harm):
    base = tiny_base(tmp_path / "base")
    manifest = read_manifest(open_source(base).root(), base)
    path = tmp_path / "base" / "blobs" / "sha256" / manifest.layers[0].digest[7:]
    data = path.read_bytes()
    path.write_bytes(data[:-512] if harm == "cut off" else data.replace(b"amd64", b"arm64"))
    with pytest.raises(ImageInvalid, match=rf"`{path}`: expected `sha256:\w+`, found `sha256:"):
        build(open_source(base), [], LayoutImage(tmp_path / "out", "iris"))
    assert not (tmp_path / "out" / "index.json").exists()


def test_a_blob_that_was_damaged_where_it_lies_is_written_again(tmp_path):
    made, parts = build_image(tmp_path)
    path = tmp_path / "out" / "blobs" / "sha256" / parts[0].entry.blob[7:]
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)))
    again = build(open_source(f"oci:{tmp_path / 'base'}:base"), parts, open_target(made.image))
    assert (again.digest, again.bytes_sent) == (made.digest, len(whole))
    assert path.read_bytes() == whole


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> BundleLayer:
    # 16 MB of weights: long enough to be broken off in the middle.
    path = tmp_path_factory.mktemp("large") / "iris"
    return from_bundle(linear_bundle(path, features=2_000, classes=2_000, labels=False, rows=1))


class EndingProxy(Proxy):
    """With `ends` all connections are cut, those too that wait for a next request."""

    def __init__(self, server: str) -> None:
        self._open: list[socket.socket] = []
        super().__init__(server)

    def carry(self, client: socket.socket) -> None:
        self._open.append(client)
        super().carry(client)

    def _copy(self, *ends) -> None:
        super()._copy(*ends)
        for one in self._open if self.gone else ():
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(oci_server) -> Iterator[Proxy]:
    made = EndingProxy(oci_server.address)
    yield made
    made.close()


@pytest.mark.slow
def test_a_connection_that_breaks_in_a_layer_costs_another_one_and_no_image(proxy, large, tmp_path):
    proxy.cut_after, proxy.cuts = 4 << 20, 2
    target = open_target(f"{proxy.address}/cut/iris:1")
    built_over = build(open_source(tiny_base(tmp_path / "base")), [large], target)
    target.close()
    assert proxy.cuts == 0
    whole = build(open_source(f"oci:{tmp_path / 'base'}"), [large], LayoutImage(tmp_path / "out", None))
    assert built_over.digest == whole.digest


@pytest.mark.slow
def test_a_registry_that_goes_away_in_a_layer_is_said_and_has_no_image_of_that_name(
    proxy, large, tmp_path, oci_server
):
    proxy.cut_after, proxy.cuts, proxy.ends = 4 << 20, 1, True
    base = tiny_base(tmp_path / "base")
    target = RemoteImage(Repository(proxy.address, "gone/iris", retry=Retry(attempts=2, first_s=0)), "1")
    with pytest.raises(RegistryUnavailable, match=proxy.address):
        build(open_source(base), [large], target)
    target.close()
    assert proxy.gone
    back = open_target(f"{oci_server.address}/gone/iris:1")
    with pytest.raises(ImageNotFound):
        inspect(back)
    made = build(open_source(base), [large], back)
    assert inspect(back).digest == made.digest
    back.close()


@pytest.mark.slow
def test_a_base_whose_layer_breaks_off_in_its_registry_is_no_part_of_an_image(proxy, large, tmp_path):
    base = f"{proxy.address}/based/runtime:1"
    for_base = open_target(base)
    build(open_source(tiny_base(tmp_path / "base")), [large], for_base)
    for_base.close()
    proxy.cut_after, proxy.cuts, proxy.ends = 4 << 20, 1, True
    source = RemoteImage(Repository(proxy.address, "based/runtime", retry=Retry(attempts=2, first_s=0)), "1")
    target = LayoutImage(tmp_path / "out", "iris")
    with pytest.raises(RegistryUnavailable, match=proxy.address):
        build(source, [], target)
    source.close()
    assert not (tmp_path / "out" / "index.json").exists()
    assert [path.name for path in (tmp_path / "out").rglob(".*")] == []


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    assert os.geteuid() == 0, "a file system of a given size takes root"
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["oci", "docker-archive"])
def test_a_full_disk_is_said_and_leaves_no_image_and_room_is_enough_afterwards(
    small_disk, large, tmp_path, kind
):
    base = open_source(tiny_base(tmp_path / "base"))
    name = f"{kind}:{small_disk / 'image'}"
    target = open_target(name)
    with pytest.raises(RegistryUnavailable, match=rf"^image `{name}`: .*No space left on device") as caught:
        build(base, [large], target)
    target.close()
    assert "free some space there" in caught.value.hint
    left = [path.name for path in small_disk.rglob("*") if path.is_file()]
    assert [one for one in left if one.startswith(".") or one == "index.json"] == []
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    target = open_target(name)
    made = build(base, [large], target)
    target.close()
    assert inspect(open_source(name)).platforms[0].bundles == made.bundles
