"""One repository of an OCI registry: blobs, manifests and tags.

Speaks the distribution API (https://github.com/opencontainers/distribution-spec) and knows nothing of
bundles: `oci` keeps them here, and images are built from here.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from collections.abc import Mapping
from typing import BinaryIO

import msgspec

from lading.errors import BlobNotFound, InvalidSetting
from lading.registry.reading import Stream, read_blob
from lading.registry.retry import Retry
from lading.registry.transport import HttpStream, Transport
from lading.registry.uploading import Upload
from lading.settings import store_settings

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
ACCEPT = ", ".join((INDEX, MANIFEST, DOCKER_LIST, DOCKER_MANIFEST))
MAX_MANIFEST_BYTES = 4 << 20
TAGS_A_PAGE = 1000

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?|\[[0-9A-Fa-f:]+\](:\d{1,5})?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")


class Document(msgspec.Struct, frozen=True):
    """A manifest or index as the registry holds it: the bytes, whose digest is its name."""

    data: bytes
    media_type: str
    digest: str


class Repository:
    """The repository `name` of the registry `host`. Threads may share it. Raises `RegistryUnavailable`."""

    def __init__(
        self,
        host: str,
        name: str,
        *,
        retry: Retry | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        if not _HOST.fullmatch(host) or not _REPOSITORY.fullmatch(name):
            found = f"`{host}/{name}`"
            raise InvalidSetting("registry", expected="`host/repository` in lower case", found=found)
        self.host = host
        self.name = name
        insecure = store_settings(environ).insecure_registries.split(",")
        plain = is_loopback(host) or host in (one.strip() for one in insecure)
        self.transport = Transport(host, name, plain=plain, retry=retry, environ=environ)

    def manifest(self, reference: str) -> Document | None:
        """Read the manifest of a tag or digest; None if there is none."""
        headers = {"accept": ACCEPT}
        path = self._path("manifests", reference)
        response = self.transport.request("GET", path, expect={200, 404}, headers=headers)
        if response.status_code == 404:
            return None
        data = response.content
        if len(data) > MAX_MANIFEST_BYTES:
            raise self.transport.error(f"read the manifest `{reference}`", f"{len(data)} bytes")
        digest = digest_of(data)
        if reference.startswith("sha256:") and reference != digest:
            raise self.transport.error(f"read the manifest `{reference}`", f"another one, `{digest}`")
        return Document(data, response.headers.get("content-type", "").partition(";")[0], digest)

    def put_manifest(self, reference: str, data: bytes, media_type: str = MANIFEST) -> str:
        """Write a manifest under a tag or its digest; give the digest."""
        path, headers = self._path("manifests", reference), {"content-type": media_type}
        self.transport.request("PUT", path, expect={201, 202}, headers=headers, content=data)
        return digest_of(data)

    def delete_manifest(self, digest: str) -> bool:
        """Remove a manifest, and with it the tags that point there; tell whether there was one."""
        return self._delete("manifests", digest)

    def tags(self) -> list[str]:
        """List all tags, sorted."""
        found: set[str] = set()
        page: str | None = f"/v2/{self.name}/tags/list?n={TAGS_A_PAGE}"
        while page is not None:
            response = self.transport.request("GET", page, expect={200, 404})
            if response.status_code == 404:
                break
            found.update(_Tags.read(response.content))
            link = response.links.get("next", {}).get("url")
            page = str(response.url.join(link)) if link else None
        return sorted(found)

    def blob_size(self, digest: str) -> int | None:
        """Give the size of a blob; None if it is not there."""
        response = self.transport.request("HEAD", self._path("blobs", digest), expect={200, 404})
        if response.status_code == 404:
            return None
        return int(response.headers.get("content-length", 0))

    def open_blob(self, digest: str) -> BinaryIO:
        """Open a blob for reading, checked at its end. Raises `BlobNotFound`, then `DigestMismatch`."""

        def begin(offset: int) -> Stream:
            headers = {"range": f"bytes={offset}-"} if offset else {}
            expect = {206} if offset else {200, 404}
            path = self._path("blobs", digest)
            response = self.transport.once("GET", path, expect=expect, headers=headers, stream=True)
            if response.status_code == 404:
                response.close()
                raise self._not_found(digest)
            return HttpStream(self.transport, response, offset)

        return read_blob(begin, digest, self.transport.retry)

    def delete_blob(self, digest: str) -> bool:
        """Remove a blob from this repository; tell whether there was one."""
        return self._delete("blobs", digest)

    def upload(self, size_bytes: int) -> Upload:
        """Begin to upload a blob of `size_bytes`: write to it, then `finish` or `cancel`."""
        return Upload(self.transport, f"/v2/{self.name}/blobs/uploads/", size_bytes)

    def put_blob(self, data: bytes) -> str:
        """Upload a small blob unless it is there; give its digest."""
        digest = digest_of(data)
        if self.blob_size(digest) is None:
            upload = self.upload(len(data))
            upload.write(data)
            upload.finish(digest, len(data))
        return digest

    def mount(self, digest: str, source: str) -> bool:
        """Take a blob over from the repository `source` of this host; False if it must be uploaded."""
        path = f"/v2/{self.name}/blobs/uploads/?mount={digest}&from={source}"
        response = self.transport.request("POST", path, expect={201, 202})
        if response.status_code == 202 and (location := response.headers.get("location")):
            # An upload was begun instead; nobody will go on with it.
            self.transport.request("DELETE", location, expect=range(200, 500))
        return response.status_code == 201

    def close(self) -> None:
        """Close all connections."""
        self.transport.close()

    def _path(self, kind: str, reference: str) -> str:
        return f"/v2/{self.name}/{kind}/{reference}"

    def _delete(self, kind: str, digest: str) -> bool:
        response = self.transport.request("DELETE", self._path(kind, digest), expect={200, 202, 404, 405})
        if response.status_code == 405:
            hint = (
                "allow it there (docker-registry: `storage.delete.enabled`), or clean up with its own tools"
            )
            raise self.transport.error(f"delete `{digest}`", "that this registry deletes nothing", hint)
        return response.status_code != 404

    def _not_found(self, digest: str) -> BlobNotFound:
        hint = "push the bundle again: it gets its old version and its blob back"
        expected = f"it in `{self.host}/{self.name}`"
        return BlobNotFound(f"blob `{digest}`", expected=expected, found="none", hint=hint)


class _Tags(msgspec.Struct):
    tags: list[str] | None = None

    @classmethod
    def read(cls, data: bytes) -> list[str]:
        return msgspec.json.decode(data, type=cls).tags or []


def digest_of(data: bytes) -> str:
    """Give the digest of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def is_loopback(host: str) -> bool:
    """Tell whether a host, with or without a port, is this machine's own: spoken to over plain HTTP."""
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost"
