"""Blobs in a bucket or under a prefix: ``<prefix>/sha256/ab/abcd…``, the names of a store in a folder.

Written so that a blob appears whole and is never written over (``If-None-Match: *``); what killed writers
left in parts is swept. Endpoint, region and credentials are those of every AWS tool (``AWS_…``, profiles,
roles); nothing is read, and botocore is not loaded, before the store is used.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from lading.blobs.download import Stream, read_blob
from lading.blobs.retry import Retry, TransientError
from lading.errors import BlobNotFound, InvalidSetting, RegistryUnavailable, missing_extra
from lading.ref import is_digest
from lading.registry.records import Removed, StoredBlob
from lading.registry.store.s3faults import code_of, s3_errors
from lading.registry.store.s3parts import PartsUpload

if TYPE_CHECKING:
    from lading.registry.records import ModelVersion

QUIET_S = 900.0
"""An upload to which nobody has sent a part for so long counts as abandoned."""
COPY_BYTES = 5 << 30
"""The most that S3 copies in one request."""
_DIGEST = "lading-digest"
_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})


class S3Store:
    """A `Store` in a bucket. Safe among machines. Raises `ExtraMissing` without ``lading[s3]``."""

    def __init__(
        self, bucket: str, prefix: str = "", *, retry: Retry | None = None, quiet_s: float = QUIET_S
    ) -> None:
        if importlib.util.find_spec("botocore") is None:
            raise missing_extra("stores `s3://…`", "s3", ModuleNotFoundError(name="botocore"))
        if not bucket:
            raise InvalidSetting("store", expected="`s3://bucket/prefix`", found="no bucket")
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._retry = retry or Retry()
        self._quiet_s = quiet_s

    @property
    def where(self) -> str:
        """Return the store as a URL."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def put(self, write: Callable[[BinaryIO], object], digest: str, size_bytes: int) -> None:
        """Upload the blob unless it is there and whole; then only make it young again."""
        key = self._key(digest)
        with s3_errors(self.where):
            head = self._head(key)
            whole = head is not None and _is_whole(head, digest, size_bytes)
            if whole and self._refresh(key, head, digest):
                return
            upload = PartsUpload(
                self._client, self._bucket, key, size_bytes, {_DIGEST: digest}, replace=head is not None
            )
            try:
                write(cast("BinaryIO", upload))
                upload.finish(digest, size_bytes)
            except BaseException:
                upload.cancel()
                raise

    def label(self, version: ModelVersion) -> None:
        """Do nothing: the catalog says it."""

    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading; its digest is checked at its end. Raises `BlobNotFound`."""
        key = self._key(digest)

        def begin(offset: int) -> Stream:
            with s3_errors(self.where):
                ranged = {"Range": f"bytes={offset}-"} if offset else {}
                try:
                    found = self._client.get_object(Bucket=self._bucket, Key=key, **ranged)
                except self._client.exceptions.ClientError as error:
                    if code_of(error) in _MISSING:
                        raise self._not_found(digest) from None
                    raise
            return _Body(found, offset, self.where)

        return read_blob(begin, digest, self._retry)

    def has(self, digest: str) -> bool:
        """Return whether the blob is there."""
        with s3_errors(self.where):
            return self._head(self._key(digest)) is not None

    def delete(self, digest: str) -> bool:
        """Remove the blob; return whether there was one."""
        key = self._key(digest)
        with s3_errors(self.where):
            there = self._head(key) is not None
            self._client.delete_object(Bucket=self._bucket, Key=key)
        return there

    def blobs(self) -> Iterator[StoredBlob]:
        """List all blobs in order of their digests."""
        with s3_errors(self.where):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=f"{self._prefix}sha256/"
            )
            found = [one for page in pages for one in page.get("Contents", [])]
        for one in sorted(found, key=lambda one: str(one["Key"])):
            digest = "sha256:" + str(one["Key"]).rpartition("/")[2]
            if is_digest(digest):
                yield StoredBlob(digest, one["Size"], one["LastModified"].timestamp())

    def sweep(self, before: float, *, dry_run: bool) -> list[Removed]:
        """Abort uploads that were begun before the Unix time `before` and that nobody goes on with."""
        removed = []
        with s3_errors(self.where):
            for upload in self._uploads():
                # One that was completed since it was listed is no upload any more.
                with contextlib.suppress(self._client.exceptions.NoSuchUpload):
                    size_bytes, last = self._parts(upload)
                    if last > min(before, time.time() - self._quiet_s):
                        continue
                    if not dry_run:
                        self._client.abort_multipart_upload(
                            Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )
                    removed.append(Removed("temporary file", upload["Key"], size_bytes))
        return removed

    def close(self) -> None:
        """Let go of all connections; they open again when used."""
        client = self.__dict__.pop("_client", None)
        if client is not None:
            client.close()

    @functools.cached_property
    def _client(self) -> Any:
        return s3_client(os.environ)

    def _key(self, digest: str) -> str:
        name = digest.removeprefix("sha256:")
        return f"{self._prefix}sha256/{name[:2]}/{name}"

    def _head(self, key: str) -> dict[str, Any] | None:
        try:
            head: dict[str, Any] = self._client.head_object(Bucket=self._bucket, Key=key)
        except self._client.exceptions.ClientError as error:
            # Of a HEAD there is no body to tell a missing blob from a missing bucket.
            if code_of(error) in _MISSING:
                return None
            raise
        return head

    def _refresh(self, key: str, head: dict[str, Any] | None, digest: str) -> bool:
        """Copy the blob onto itself: the only way to a new time. False if it is gone or another since."""
        if head is None:
            return False
        if head["ContentLength"] > COPY_BYTES:
            return True
        source = {"Bucket": self._bucket, "Key": key}
        try:
            self._client.copy_object(
                Bucket=self._bucket,
                Key=key,
                CopySource=source,
                CopySourceIfMatch=head["ETag"],
                MetadataDirective="REPLACE",
                Metadata={_DIGEST: digest},
            )
        except self._client.exceptions.ClientError as error:
            if code_of(error) in _MISSING | {"PreconditionFailed", "412"}:
                return False
            raise
        return True

    def _uploads(self) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self._bucket, Prefix=f"{self._prefix}sha256/"
        )
        for page in pages:
            yield from page.get("Uploads", [])

    def _parts(self, upload: dict[str, Any]) -> tuple[int, float]:
        """Return the size of what was sent of an upload, and the Unix time of the last part."""
        pages = self._client.get_paginator("list_parts").paginate(
            Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
        )
        parts = [part for page in pages for part in page.get("Parts", [])]
        last: datetime = max([upload["Initiated"], *(part["LastModified"] for part in parts)])
        return sum(part["Size"] for part in parts), last.timestamp()

    def _not_found(self, digest: str) -> BlobNotFound:
        hint = "push the bundle again: it gets its old version and its blob back"
        return BlobNotFound(f"blob `{digest}`", expected=f"it in `{self.where}`", found="none", hint=hint)


class _Body:
    """The body of an answer to GetObject, read as it comes."""

    def __init__(self, found: dict[str, Any], offset: int, where: str) -> None:
        self._body = found["Body"]
        self._size_bytes = offset + int(found["ContentLength"])
        self._where = where

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def chunks(self) -> Iterator[bytes]:
        try:
            with s3_errors(self._where):
                yield from self._body.iter_chunks(1 << 16)
        except RegistryUnavailable as error:
            raise TransientError(error) from error

    def close(self) -> None:
        self._body.close()


def s3_client(environ: os._Environ[str] | dict[str, str]) -> Any:
    """Make a client as the environment says (``AWS_ENDPOINT_URL``, ``AWS_REGION``, credentials …)."""
    from botocore.config import Config
    from botocore.session import get_session

    session = get_session()
    region = environ.get("AWS_REGION") or session.get_config_variable("region") or "us-east-1"
    own = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    settings: dict[str, Any] = {
        "retries": {"mode": "standard", "total_max_attempts": 5},
        # Every server checks the signed digest of what it is sent; the newer checksums not every one knows.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        "s3": {"payload_signing_enabled": True, **({"addressing_style": "path"} if own else {})},
    }
    return session.create_client("s3", region_name=region, config=Config(**settings))


def _is_whole(head: dict[str, Any], digest: str, size_bytes: int) -> bool:
    # Bytes of another writer come without our metadata, and then the blob is written again.
    return (head["ContentLength"], head["Metadata"].get(_DIGEST)) == (size_bytes, digest)
