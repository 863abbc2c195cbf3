"""Blobs in a bucket or under a prefix: ``<prefix>/sha256/ab/abcd…``, the names of a store in a folder.

Written so that a blob appears complete and is never overwritten (``If-None-Match: *``); what killed writers
left in parts is swept. Endpoint, region and credentials are those of every AWS tool (``AWS_…``, profiles,
roles); nothing is read, and botocore is not loaded, before the store is used.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from lading.blobs.download import Stream, read_blob
from lading.blobs.retry import Retry, TransientError
from lading.errors import BlobNotFound, InvalidSetting, RegistryUnavailable, missing_extra
from lading.ref import is_digest
from lading.registry.not_found import blob_not_found
from lading.registry.records import Removed, StoredBlob
from lading.registry.store.s3.errors import code_of, complete, s3_errors
from lading.registry.store.s3.parts import PartsUpload

if TYPE_CHECKING:
    from lading.registry.records import ModelVersion

# An upload that has received no part for so long counts as abandoned.
QUIET_S = 900.0
# The most that S3 copies in one request.
COPY_BYTES = 5 << 30
# A server that sends nothing for so long is asked again.
READ_TIMEOUT_S = 60.0
ATTEMPTS = 5
_DIGEST = "lading-digest"
MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_CHUNK_BYTES = 1 << 16


class S3Store:
    """A `Store` in a bucket. Safe among machines. Raises `ExtraMissing` without ``lading-ml[s3]``."""

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
        """The store as a URL."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def put(self, write: Callable[[BinaryIO], object], digest: str, size_bytes: int) -> None:
        """Upload the blob, or only renew its time if it exists and is complete."""
        key = self._key(digest)
        with s3_errors(self.where):
            head = self._head(key)
            complete = head is not None and _is_complete(head, digest, size_bytes)
            if complete and self._refresh(key, head, digest):
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
        """Do nothing: the catalog has it."""

    def attach(self, version: ModelVersion, envelopes: Sequence[bytes]) -> None:
        """Do nothing: the catalog has them."""

    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading; its digest is checked at its end. Raises `BlobNotFound`."""
        key = self._key(digest)

        def begin(offset: int) -> Stream:
            with s3_errors(self.where):
                ranged = {"Range": f"bytes={offset}-"} if offset else {}
                try:
                    response = self._client.get_object(Bucket=self._bucket, Key=key, **ranged)
                except self._client.exceptions.ClientError as error:
                    if code_of(error) in MISSING:
                        raise self._not_found(digest) from None
                    raise
            return ObjectBody(response, offset, lambda: s3_errors(self.where))

        return read_blob(begin, digest, self._retry)

    def has(self, digest: str) -> bool:
        """Return whether the blob exists."""
        with s3_errors(self.where):
            return self._head(self._key(digest)) is not None

    def delete(self, digest: str) -> bool:
        """Remove the blob; return whether it existed."""
        key = self._key(digest)
        with s3_errors(self.where):
            # DeleteObject succeeds for keys that do not exist.
            existed = self._head(key) is not None
            self._client.delete_object(Bucket=self._bucket, Key=key)
        return existed

    def blobs(self) -> Iterator[StoredBlob]:
        """List all blobs in order of their digests."""
        with s3_errors(self.where):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=f"{self._prefix}sha256/"
            )
            objects = list(self._entries(pages, "Contents"))
        for entry in sorted(objects, key=lambda entry: str(entry["Key"])):
            digest = "sha256:" + str(entry["Key"]).rpartition("/")[2]
            if is_digest(digest):
                yield StoredBlob(digest, entry["Size"], entry["LastModified"].timestamp())

    def sweep(self, before: float, *, dry_run: bool) -> list[Removed]:
        """Abort abandoned uploads whose last part is older than the Unix time `before`."""
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
        """Close all connections; they open again when used."""
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
            # A HEAD has no body that would tell a missing blob from a missing bucket.
            if code_of(error) in MISSING:
                return None
            raise
        return complete(head, "ContentLength", "ETag")

    def _refresh(self, key: str, head: dict[str, Any] | None, digest: str) -> bool:
        """Copy the blob onto itself, the only way to renew its time; False if it was removed or replaced."""
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
                # S3 refuses a copy onto itself that changes nothing.
                MetadataDirective="REPLACE",
                Metadata={_DIGEST: digest},
            )
        except self._client.exceptions.ClientError as error:
            if code_of(error) in MISSING | {"PreconditionFailed", "412"}:
                return False
            raise
        return True

    def _uploads(self) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self._bucket, Prefix=f"{self._prefix}sha256/"
        )
        yield from self._entries(pages, "Uploads")

    def _parts(self, upload: dict[str, Any]) -> tuple[int, float]:
        """Return the bytes that were sent of an upload, and the Unix time of its last part."""
        pages = self._client.get_paginator("list_parts").paginate(
            Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
        )
        parts = list(self._entries(pages, "Parts"))
        last: datetime = max([upload["Initiated"], *(part["LastModified"] for part in parts)])
        return sum(part["Size"] for part in parts), last.timestamp()

    def _entries(self, pages: Iterable[dict[str, Any]], name: str) -> Iterator[dict[str, Any]]:
        # Imported here: botocore is not loaded before the store is used.
        from lading.registry.store.s3.bounded import entries

        return entries(pages, name)

    def _not_found(self, digest: str) -> BlobNotFound:
        return blob_not_found(digest, expected=f"it in `{self.where}`")


class ObjectBody:
    """The body of a response to GetObject, read as it comes; `errors` names the place in what it raises."""

    def __init__(
        self, response: dict[str, Any], offset: int, errors: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._body = response["Body"]
        # A proxy that sends it chunked does not state it.
        rest = response.get("ContentLength")
        self._size_bytes = None if rest is None else offset + int(rest)
        self._errors = errors

    @property
    def size_bytes(self) -> int | None:
        """The length of the whole object; None if the server does not state it."""
        return self._size_bytes

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the bytes. Raises `TransientError` if the connection breaks."""
        try:
            with self._errors():
                yield from self._body.iter_chunks(_CHUNK_BYTES)
        except RegistryUnavailable as error:
            raise TransientError(error) from error

    def close(self) -> None:
        """Close the connection."""
        self._body.close()


def s3_client(environ: Mapping[str, str]) -> Any:
    """Return a client configured by the environment (``AWS_ENDPOINT_URL``, ``AWS_REGION``, credentials …)."""
    from botocore.config import Config
    from botocore.session import get_session

    from lading.registry.store.s3.bounded import bound_answers

    session = get_session()
    region = environ.get("AWS_REGION") or session.get_config_variable("region") or "us-east-1"
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    settings: dict[str, Any] = {
        "read_timeout": READ_TIMEOUT_S,
        "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
        # Every server checks the signed digest of what it receives; not every one knows the newer checksums.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        # A bucket as a subdomain needs DNS that a server other than Amazon's rarely has.
        "s3": {"payload_signing_enabled": True, **({"addressing_style": "path"} if endpoint else {})},
    }
    client = session.create_client("s3", region_name=region, config=Config(**settings))
    bound_answers(client)
    return client


def _is_complete(head: dict[str, Any], digest: str, size_bytes: int) -> bool:
    # Bytes of another writer come without our metadata; the blob is then written again.
    return (head["ContentLength"], head["Metadata"].get(_DIGEST)) == (size_bytes, digest)
