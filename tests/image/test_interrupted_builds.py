"""Builds that are interrupted by broken connections or a full disk: an error, or a complete image."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lading.blobs.retry import Retry
from lading.errors import ImageNotFound, RegistryUnavailable
from lading.image.build import BundleLayer, build
from lading.image.bundle_layers import from_bundle
from lading.image.inspect import inspect
from lading.image.layout import LayoutImage
from lading.image.references import open_source, open_target
from lading.image.remote import RemoteImage
from lading.oci import Repository
from support.bundles import linear_bundle
from support.images import tiny_base
from support.store_servers import Proxy


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> BundleLayer:
    # 16 MB of weights, large enough to be interrupted in the middle.
    path = tmp_path_factory.mktemp("large") / "iris"
    return from_bundle(linear_bundle(path, features=2_000, classes=2_000, labels=False, rows=1))


class EndingProxy(Proxy):
    """A proxy that, with `ends`, also cuts connections that are idle."""

    def __init__(self, server: str) -> None:
        self._open: list[socket.socket] = []
        super().__init__(server)

    def carry(self, client: socket.socket) -> None:
        self._open.append(client)
        super().carry(client)

    def _copy(self, *ends) -> None:
        super()._copy(*ends)
        for connection in self._open if self.gone else ():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(oci_server) -> Iterator[Proxy]:
    made = EndingProxy(oci_server.address)
    yield made
    made.close()


@pytest.mark.slow
def test_an_upload_continues_after_broken_connections(proxy, large, tmp_path):
    proxy.cut_after, proxy.cuts = 4 << 20, 2
    target = open_target(f"{proxy.address}/cut/iris:1")
    built_over = build(open_source(tiny_base(tmp_path / "base")), [large], target)
    target.close()
    assert proxy.cuts == 0
    whole = build(open_source(f"oci:{tmp_path / 'base'}"), [large], LayoutImage(tmp_path / "out", None))
    assert built_over.digest == whole.digest


@pytest.mark.slow
def test_a_registry_that_becomes_unreachable_ends_the_build_and_holds_no_image(
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
def test_a_base_that_becomes_unreachable_ends_the_build_and_leaves_no_image(proxy, large, tmp_path):
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
def test_a_full_disk_ends_the_build_without_an_image_and_free_space_is_enough_to_repeat_it(
    small_disk, large, tmp_path, kind
):
    base = open_source(tiny_base(tmp_path / "base"))
    name = f"{kind}:{small_disk / 'image'}"
    target = open_target(name)
    with pytest.raises(RegistryUnavailable, match=rf"^image `{name}`: .*no space left on device") as caught:
        build(base, [large], target)
    target.close()
    assert "free some space there" in caught.value.hint
    left = [path.name for path in small_disk.rglob("*") if path.is_file()]
    assert [name for name in left if name.startswith(".") or name == "index.json"] == []
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    target = open_target(name)
    made = build(base, [large], target)
    target.close()
    assert inspect(open_source(name)).platforms[0].bundles == made.bundles
