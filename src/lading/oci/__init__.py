"""One repository of an OCI registry: blobs, manifests and tags.

Speaks the distribution API (https://github.com/opencontainers/distribution-spec) and knows nothing of
bundles: ``registry.store.oci`` keeps them in one, and images are read from and written to others.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from typing import BinaryIO, cast

import msgspec

from lading.blobs.download import Stream, read_blob
from lading.blobs.retry import Retry
from lading.bounded_http import time_limit
from lading.errors import BlobNotFound, InvalidSetting, RegistryUnavailable
from lading.oci.transport import HttpStream, Transport, content_bytes
from lading.oci.upload import SessionLost, Upload, cancel_session
from lading.settings import store_settings

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
ACCEPT = ", ".join((INDEX, MANIFEST, DOCKER_LIST, DOCKER_MANIFEST))
MAX_MANIFEST_BYTES = 4 << 20
TAGS_PER_PAGE = 1000
# Some registries send all tags in one page, and some few in each.
MAX_TAG_PAGE_BYTES = 32 << 20
MAX_TAG_PAGES = 10_000
MAX_TAGS = 1_000_000
# How long it may take to list all tags.
TAGS_S = 600.0
# How often an upload is started when the registry loses it half way.
MAX_UPLOADS = 5

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?|\[[0-9A-Fa-f:]+\](:\d{1,5})?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")


class Document(msgspec.Struct, frozen=True):
    """A manifest or index as the registry stores it: the bytes, whose digest is its name."""

    data: bytes
    media_type: str
    digest: str


class StoredSize(msgspec.Struct, frozen=True):
    """The size of a blob that exists; None if the registry, or a proxy before it, does not state it."""

    size_bytes: int | None

    def may_have(self, size_bytes: int) -> bool:
        """Return whether it has this size, as far as it is known."""
        return self.size_bytes in {None, size_bytes}


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
            actual = f"`{host}/{name}`"
            raise InvalidSetting("registry", expected="`host/repository` in lower case", found=actual)
        self.host = host
        self.name = name
        insecure = store_settings(environ).insecure_registries.split(",")
        # TLS for every host but this machine and those that `LADING_INSECURE_REGISTRIES` names.
        self.plain = is_loopback(host) or host in (name.strip() for name in insecure)
        self.transport = Transport(host, name, plain=self.plain, retry=retry, environ=environ)

    def manifest(self, reference: str) -> Document | None:
        """Return the manifest of a tag or digest, or None."""
        headers = {"accept": ACCEPT}
        path = self._path("manifests", reference)
        response = self.transport.request(
            "GET", path, expect={200, 404}, headers=headers, max_bytes=MAX_MANIFEST_BYTES
        )
        if response.status_code == 404:
            return None
        data = response.content
        digest = digest_of(data)
        # A registry, or a proxy before it, that sends another manifest must not go unnoticed.
        if reference.startswith("sha256:") and reference != digest:
            raise self.transport.error(f"read the manifest `{reference}`", f"another one, `{digest}`")
        return Document(data, response.headers.get("content-type", "").partition(";")[0], digest)

    def put_manifest(self, reference: str, data: bytes, media_type: str = MANIFEST) -> str:
        """Write a manifest under a tag or its digest; return the digest."""
        path, headers = self._path("manifests", reference), {"content-type": media_type}
        self.transport.request("PUT", path, expect={201, 202}, headers=headers, content=data)
        return digest_of(data)

    def has_referrers_api(self, digest: str) -> bool:
        """Return whether the registry itself lists what refers to a manifest, as distribution 1.1 has it."""
        path = self._path("referrers", digest)
        response = self.transport.request(
            "GET", path, expect={200, 400, 404, 405}, max_bytes=MAX_MANIFEST_BYTES
        )
        # Some answer any unknown path with 200 and a page for people.
        kind = response.headers.get("content-type", "").partition(";")[0]
        return response.status_code == 200 and kind == INDEX

    def delete_manifest(self, digest: str) -> bool:
        """Remove a manifest, and with it the tags that point to it; return whether it existed."""
        return self._delete("manifests", digest)

    def tags(self) -> list[str]:
        """List all tags, sorted."""
        with time_limit(TAGS_S):
            return sorted(self._read_tags())

    def _read_tags(self) -> set[str]:
        tags: set[str] = set()
        pages: set[str] = set()
        page: str | None = f"/v2/{self.name}/tags/list?n={TAGS_PER_PAGE}"
        while page is not None:
            pages.add(page)
            response = self.transport.request("GET", page, expect={200, 404}, max_bytes=MAX_TAG_PAGE_BYTES)
            if response.status_code == 404:
                break
            try:
                tags.update(_Tags.read(response.content))
            except ValueError as error:
                raise self.transport.error("list its tags", f"another answer ({error})") from error
            # RFC 8288; the URL may be relative.
            link = response.links.get("next", {}).get("url")
            page = str(response.url.join(link)) if link else None
            if page in pages:
                raise self.transport.error("list its tags", "a page that leads back to one before it")
            if len(tags) > MAX_TAGS or len(pages) > MAX_TAG_PAGES:
                actual = f"more than {MAX_TAGS:,} tags or {MAX_TAG_PAGES:,} pages of them"
                raise self.transport.error("list its tags", actual)
        return tags

    def find_blob(self, digest: str) -> StoredSize | None:
        """Return the size of a blob, or None if it does not exist."""
        response = self.transport.request("HEAD", self._path("blobs", digest), expect={200, 404})
        if response.status_code == 404:
            return None
        return StoredSize(content_bytes(response))

    def open_blob(self, digest: str) -> BinaryIO:
        """Open a blob for reading, checked at its end. Raises `BlobNotFound`, then `DigestMismatch`."""

        def begin(offset: int) -> Stream:
            headers = {"range": f"bytes={offset}-"} if offset else {}
            # 200 to a range is the whole blob, from a server that knows none: `HttpStream` skips the rest.
            expect = {200, 206} if offset else {200, 404}
            path = self._path("blobs", digest)
            response = self.transport.once("GET", path, expect=expect, headers=headers, max_bytes=None)
            if response.status_code == 404:
                response.close()
                raise self._not_found(digest)
            return HttpStream(self.transport, response, offset)

        return read_blob(begin, digest, self.transport.retry)

    def delete_blob(self, digest: str) -> bool:
        """Remove a blob from this repository; return whether it existed."""
        return self._delete("blobs", digest)

    def upload(self, size_bytes: int) -> Upload:
        """Begin to upload a blob of `size_bytes`: write to it, then call `finish` or `cancel`."""
        return Upload(self.transport, f"/v2/{self.name}/blobs/uploads/", size_bytes)

    def upload_blob(self, write: Callable[[BinaryIO], object], digest: str, size_bytes: int) -> None:
        """Upload what `write` writes; it is called again if the registry loses the upload half way.

        Raises `SizeMismatch` or `DigestMismatch` if it writes something else.
        """
        for left in reversed(range(MAX_UPLOADS)):
            upload = self.upload(size_bytes)
            try:
                write(cast("BinaryIO", upload))
                upload.finish(digest, size_bytes)
            except SessionLost as lost:
                # The blob may be complete, and only the response to the last request lost.
                blob = self.find_blob(digest)
                if blob is None or not blob.may_have(size_bytes):
                    if left:
                        continue
                    raise lost.error from lost
            except BaseException:
                upload.cancel()
                raise
            return

    def put_blob(self, data: bytes) -> str:
        """Upload a small blob unless it exists; return its digest."""
        digest = digest_of(data)
        if self.find_blob(digest) is None:
            self.upload_blob(lambda out: out.write(data), digest, len(data))
        return digest

    def mount(self, digest: str, source: str) -> bool:
        """Mount a blob of the repository `source` of this host; return False if it must be uploaded."""
        path = f"/v2/{self.name}/blobs/uploads/?mount={digest}&from={source}"
        try:
            response = self.transport.request("POST", path, expect={201, 202})
        except RegistryUnavailable:
            # A user who may write here need not be allowed to read there. The upload meets any other fault.
            return False
        if response.status_code == 202 and (location := response.headers.get("location")):
            # An upload was begun instead; nobody will continue it.
            cancel_session(self.transport, str(response.url.join(location)))
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
    """Return the digest of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def is_loopback(host: str) -> bool:
    """Return whether a host, with or without a port, is this machine: reached over plain HTTP."""
    # The port is cut off by a pattern: an IPv6 address has colons of its own.
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost"
