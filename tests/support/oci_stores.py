"""Stores and repositories at real registries, each with connections of its own, for the tests of them."""

from __future__ import annotations

import contextlib
import hashlib
import random
from pathlib import Path

from lading.blobs.retry import Retry
from lading.image import Blob, Descriptor, Origin
from lading.oci import Repository, digest_of
from lading.registry.store.oci import OciStore
from support.store_servers import docker_registry

BODY = random.Random(7).randbytes(20 << 20)
DIGEST = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
QUICK = Retry(attempts=3, first_s=0.01)


OPENED: list[Repository] = []


def repository_at(address: str, name: str = "models", **options) -> Repository:
    """Open a repository until the test ends (`oci_closed`)."""
    OPENED.append(Repository(address, name, **{"retry": QUICK, "environ": {}, **options}))
    return OPENED[-1]


def store_at(address: str, name: str = "models", **options) -> OciStore:
    return OciStore(repository_at(address, name, **options))


def put(store: OciStore, body: bytes = BODY) -> str:
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    store.put(lambda out: out.write(body), digest, len(body))
    return digest


def read(store: OciStore, digest: str = DIGEST) -> bytes:
    with store.open(digest) as source:
        return source.read()


def unique_body(name: str) -> bytes:
    """Return bytes that no other test has put into the registry."""
    return f"{name} {id(object())}".encode() + hashlib.sha256(name.encode()).digest()


def layer_blob(body: bytes, origin: Origin | None = None) -> Blob:
    """Return a layer of an image; it may be mounted from `origin`."""
    descriptor = Descriptor("application/vnd.oci.image.layer.v1.tar", digest_of(body), len(body))
    return Blob(descriptor, lambda out: out.write(body), origin)


def close_all() -> None:
    """Close what was opened."""
    while OPENED:
        OPENED.pop().close()


@contextlib.contextmanager
def registry_of_its_own(folder: Path, **options):
    server = docker_registry(folder, **options)
    try:
        yield server
    finally:
        server.stop()
