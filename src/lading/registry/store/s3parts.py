"""A blob on its way to S3: one request if it is small, else a multipart upload; shown only when whole.

Keeps no more than one part in memory. Retries are botocore's.
"""

from __future__ import annotations

import contextlib
from typing import Any

from lading.blobs.digest import ChunkedWriter
from lading.registry.store.s3faults import code_of

PART_BYTES = 16 << 20
MOST_PARTS = 10_000
"""The most parts that S3 puts together."""
_THERE = frozenset({"PreconditionFailed", "412"})
_UNKNOWN = frozenset({"NotImplemented", "501"})
_AT_ONCE = frozenset({"ConditionalRequestConflict", "409"})


class PartsUpload(ChunkedWriter):
    """A file to write a blob of `size_bytes` to; `replace` writes over what is damaged there."""

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
        super().__init__(size_bytes, max(PART_BYTES, -(-size_bytes // MOST_PARTS)))
        self._client = client
        self._at = {"Bucket": bucket, "Key": key}
        self._metadata = metadata
        self._only_new = {} if replace else {"IfNoneMatch": "*"}
        self._upload: dict[str, str] = {}
        self._parts: list[dict[str, Any]] = []

    def finish(self, digest: str, size_bytes: int) -> None:
        """Show the blob under its name, once it is found to be the one announced."""
        self.hash.check(digest, size_bytes)
        if self._upload:
            self.send(bytes(self.rest))
        self._show()

    def cancel(self) -> None:
        """Have S3 forget the parts; if it does not answer, a sweep will."""
        from botocore.exceptions import BotoCoreError, ClientError

        if self._upload:
            with contextlib.suppress(ClientError, BotoCoreError):
                self._client.abort_multipart_upload(**self._at, **self._upload)

    def send(self, piece: bytes) -> None:
        """Send one part; the first begins the multipart upload."""
        if not self._upload:
            begun = self._client.create_multipart_upload(**self._at, Metadata=self._metadata)
            self._upload = {"UploadId": begun["UploadId"]}
        number = len(self._parts) + 1
        sent = self._client.upload_part(**self._at, **self._upload, PartNumber=number, Body=piece)
        self._parts.append({"ETag": sent["ETag"], "PartNumber": number})

    def _show(self) -> None:
        try:
            self._close(self._only_new)
        except self._client.exceptions.ClientError as error:
            code = code_of(error)
            if code in _THERE:
                # Another writer was first, with the same bytes: they have the same name.
                self.cancel()
            elif code in _UNKNOWN | _AT_ONCE and self._only_new:
                # No conditional writes there, or two of them at once: what is written over is the same.
                self._close({})
            else:
                raise

    def _close(self, condition: dict[str, str]) -> None:
        if self._upload:
            parts = {"Parts": self._parts}
            self._client.complete_multipart_upload(
                **self._at, **self._upload, MultipartUpload=parts, **condition
            )
        else:
            self._client.put_object(**self._at, Body=bytes(self.rest), Metadata=self._metadata, **condition)
