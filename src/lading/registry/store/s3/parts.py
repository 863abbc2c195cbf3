"""Uploads a blob to S3: in one request if it is small, else in parts; it appears only when it is complete.

Keeps no more than one part in memory. Retries are botocore's.
"""

from __future__ import annotations

import contextlib
from typing import Any

from lading.blobs.digest import ChunkedWriter
from lading.registry.store.s3.errors import code_of, complete

PART_BYTES = 16 << 20
# The most parts of one object (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
MAX_PARTS = 10_000
# S3's own codes, and the status of servers that send none.
EXISTS = frozenset({"PreconditionFailed", "412"})
_NOT_IMPLEMENTED = frozenset({"NotImplemented", "501"})
_CONFLICT = frozenset({"ConditionalRequestConflict", "409"})


class PartsUpload(ChunkedWriter):
    """A file to write a blob of `size_bytes` to; `replace` overwrites a damaged one.

    ``etag`` is what S3 calls the bytes once it has them; empty if another writer was first.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        key: str,
        size_bytes: int,
        metadata: dict[str, str],
        *,
        replace: bool,
    ) -> None:
        # Rounded up: so many parts of this size are enough.
        super().__init__(size_bytes, max(PART_BYTES, -(-size_bytes // MAX_PARTS)))
        self._client = client
        self._object = {"Bucket": bucket, "Key": key}
        self._metadata = metadata
        self._only_new = {} if replace else {"IfNoneMatch": "*"}
        self._upload: dict[str, str] = {}
        self._parts: list[dict[str, Any]] = []
        self.etag = ""

    def finish(self, digest: str, size_bytes: int) -> None:
        """Have the blob appear under its name. Raises `SizeMismatch` or `DigestMismatch` if it is another."""
        self.hash.check(digest, size_bytes)
        if self._upload:
            self.send(bytes(self.rest))
        self._complete()

    def cancel(self) -> None:
        """Have S3 drop the parts; if it does not answer, a later sweep will."""
        from botocore.exceptions import BotoCoreError, ClientError

        if self._upload:
            with contextlib.suppress(ClientError, BotoCoreError):
                self._client.abort_multipart_upload(**self._object, **self._upload)

    def send(self, chunk: bytes) -> None:
        """Send one part; the first begins the multipart upload."""
        if not self._upload:
            created = self._client.create_multipart_upload(**self._object, Metadata=self._metadata)
            self._upload = {"UploadId": complete(created, "UploadId")["UploadId"]}
        number = len(self._parts) + 1
        sent = self._client.upload_part(**self._object, **self._upload, PartNumber=number, Body=chunk)
        self._parts.append({"ETag": complete(sent, "ETag")["ETag"], "PartNumber": number})

    def _complete(self) -> None:
        try:
            self._send_last(self._only_new)
        except self._client.exceptions.ClientError as error:
            code = code_of(error)
            if code in EXISTS:
                # Another writer was first, with the same bytes: the name is their digest.
                self.cancel()
            elif code in _NOT_IMPLEMENTED | _CONFLICT and self._only_new:
                # A server without conditional writes, or two writers together: overwritten, the bytes are the
                # same.
                self._send_last({})
            else:
                raise

    def _send_last(self, condition: dict[str, str]) -> None:
        if self._upload:
            parts = {"Parts": self._parts}
            answer = self._client.complete_multipart_upload(
                **self._object, **self._upload, MultipartUpload=parts, **condition
            )
        else:
            answer = self._client.put_object(
                **self._object, Body=bytes(self.rest), Metadata=self._metadata, **condition
            )
        self.etag = str(answer.get("ETag", ""))
