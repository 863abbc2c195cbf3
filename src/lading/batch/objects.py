"""Objects in buckets as batch runs read and write them: at one version, whole, or not at all.

The client, its retries and the sentences of its errors are those of stores in S3. Knows neither plans nor
manifests, and keeps no credentials: they are those of every AWS tool, and may be renewed under way.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar, cast

from lading.blobs.download import Stream, read_blob
from lading.blobs.retry import AnswerRefused, Retry
from lading.errors import BatchChanged, UsageError, missing_extra
from lading.registry.store.s3 import COPY_BYTES, MISSING, ObjectBody, s3_client
from lading.registry.store.s3.errors import code_of, complete, s3_errors
from lading.registry.store.s3.parts import EXISTS, PartsUpload
from lading.registry.urls import s3_bucket

T = TypeVar("T")

SCHEME = "s3://"
DIGEST = "lading-digest"
"""The metadata of an object with the digest of what was sent, as in stores."""

_EXPIRED = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "InvalidAccessKeyId"}
)
_RENEW = "renew the credentials where they come from; the same command then goes on"
_RIGHTS = "a run needs GetObject and ListBucket for its inputs, for its output PutObject and DeleteObject too"
_HINTS = {
    "NoSuchBucket": "make the bucket, or name another",
    "AccessDenied": _RIGHTS,
    "403": _RIGHTS,
    "EndpointConnectionError": "is the server running, and is `AWS_ENDPOINT_URL` right?",
    "CredentialRetrievalError": _RENEW,
    **dict.fromkeys(_EXPIRED, _RENEW),
}
# The most that S3 lists at once.
PAGE_KEYS = 1000
# A copy of more than S3 copies in one request is made in pieces of this size.
COPY_PIECE_BYTES = 1 << 30


class Entry(NamedTuple):
    """An object as lists show it."""

    key: str
    size_bytes: int
    etag: str


def is_url(place: object) -> bool:
    """Return whether an input or output is in a bucket. Raises `UsageError` for a URL that became a path."""
    if isinstance(place, Path) and place.as_posix().startswith("s3:/"):
        # `Path` makes one slash of two, and what it meant is not to be guessed.
        where = f"`{place}`"
        raise UsageError(where, expected="the URL as a text", found="a `Path`", hint="pass `str`, not `Path`")
    return isinstance(place, str) and place.startswith(SCHEME)


def split(url: str) -> tuple[str, str]:
    """Return bucket and key of a URL. Raises `UsageError` without a bucket, `InvalidSetting` for a user."""
    bucket, _ = s3_bucket(url)
    if not bucket:
        raise UsageError(f"`{url}`", expected="`s3://bucket/prefix`", found="no bucket")
    # Slashes at either end belong to a key, which is any text.
    return bucket, url.removeprefix(SCHEME).partition("/")[2]


def folder_url(url: str) -> str:
    """Return the URL of a bucket or prefix without slashes at its end. Raises what `split` raises."""
    bucket, key = split(url)
    return f"{SCHEME}{bucket}/{key}".rstrip("/")


class Objects:
    """Reads and writes objects by URL. Every method raises `RegistryUnavailable`.

    Credentials that have expired are looked up once more, as somebody may have renewed them on disk.
    """

    def __init__(self, retry: Retry | None = None) -> None:
        if importlib.util.find_spec("botocore") is None:
            raise missing_extra("files at `s3://…`", "s3", ModuleNotFoundError(name="botocore"))
        self._retry = retry or Retry()

    @functools.cached_property
    def _client(self) -> Any:
        return s3_client(os.environ)

    def close(self) -> None:
        """Close all connections; they open again when used."""
        client = self.__dict__.pop("_client", None)
        if client is not None:
            client.close()

    def _ask(self, url: str, act: Callable[[Any], T]) -> T:
        from botocore.exceptions import ClientError

        with _errors(url):
            try:
                return act(self._client)
            except ClientError as error:
                if code_of(error) not in _EXPIRED:
                    raise
            # A session reads files with credentials once; a new one reads them as they are now.
            self.close()
            return act(self._client)

    def listed(
        self, url: str, prefix: str, *, most: int | None = None, flat: bool = False
    ) -> Iterator[Entry]:
        """Iterate over the objects of the bucket of `url` whose keys begin with `prefix`, by their keys.

        With `flat`, only those that have no more slashes; with `most`, only so many of the first.
        """
        # botocore comes with it, which only runs in buckets need.
        from lading.registry.store.s3.bounded import MAX_ENTRIES, MAX_PAGES

        bucket, _ = split(url)
        more: dict[str, Any] = {}
        limits = {**({"Delimiter": "/"} if flat else {}), "MaxKeys": most or PAGE_KEYS}
        for _ in range(MAX_PAGES):
            asked = {"Bucket": bucket, "Prefix": prefix, **limits, **more}
            page = self._ask(url, functools.partial(_list_page, asked))
            for entry in page.get("Contents", ()):
                yield Entry(str(entry["Key"]), int(entry["Size"]), str(entry["ETag"]))
            if most is not None or not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}
        with _errors(url):
            raise AnswerRefused(f"more than {MAX_ENTRIES:,} entries or {MAX_PAGES:,} pages of a list")

    def open(self, url: str, etag: str, version: str = "", digest: str = "") -> Download:
        """Open an object at one version, to be read to its end; broken connections are taken up again.

        Raises `BatchChanged` where the object is not the one with this ETag any more, and instead of the end
        `DigestMismatch` if a digest is stated that its bytes do not have.
        """
        bucket, key = split(url)
        pinned = {"IfMatch": etag, **({"VersionId": version} if version else {})}
        download = Download()

        def get(client: Any, offset: int) -> dict[str, Any]:
            ranged = {"Range": f"bytes={offset}-"} if offset else {}
            try:
                return cast("dict[str, Any]", client.get_object(Bucket=bucket, Key=key, **pinned, **ranged))
            except client.exceptions.ClientError as error:
                code = code_of(error)
                if code in EXISTS | MISSING | {"NoSuchVersion"}:
                    raise changed(f"`{url}`", gone=code not in EXISTS) from None
                raise

        def begin(offset: int) -> Stream:
            response = self._ask(url, lambda client: get(client, offset))
            download.version = str(response.get("VersionId") or "")
            return ObjectBody(response, offset, lambda: _errors(url))

        download.file = read_blob(begin, digest, self._retry)
        return download

    def read(self, url: str) -> Document | None:
        """Return a small object with its ETag and age, or None if there is none."""
        bucket, key = split(url)

        def get(client: Any) -> Document | None:
            try:
                answer = client.get_object(Bucket=bucket, Key=key)
            except client.exceptions.ClientError as error:
                if code_of(error) == "NoSuchKey":
                    return None
                raise
            complete(answer, "ETag", "LastModified")
            # Both times by the same clock, however wrong ours is.
            age_s = _date(answer) - answer["LastModified"].timestamp()
            return Document(answer["Body"].read(), answer["ETag"], age_s)

        return self._ask(url, get)

    def put(self, url: str, data: bytes, *, only_new: bool = False, instead_of: str = "") -> str | None:
        """Write a small object and return its ETag; None, and nothing is written, if a condition fails.

        The conditions: there is none yet, or it is still the one with the ETag `instead_of`.
        """
        bucket, key = split(url)
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
        condition = {"IfNoneMatch": "*"} if only_new else {"IfMatch": instead_of} if instead_of else {}

        def send(client: Any) -> str | None:
            try:
                answer = client.put_object(Bucket=bucket, Key=key, Body=data, **condition)
            except client.exceptions.ClientError as error:
                if code_of(error) in EXISTS | {"ConditionalRequestConflict", "409"} or (
                    instead_of and code_of(error) == "NoSuchKey"
                ):
                    return None
                raise
            return str(complete(answer, "ETag")["ETag"])

        return self._ask(url, send)

    def upload(self, path: Path, url: str, digest: str) -> str:
        """Send a file, in place of an object of that name, and return its ETag."""
        bucket, key = split(url)
        # Its parts are sent again from the beginning if credentials end between them.
        size_bytes = path.stat().st_size

        def send(client: Any) -> str:
            upload = PartsUpload(client, bucket, key, size_bytes, {DIGEST: digest}, replace=True)
            try:
                with path.open("rb") as file:
                    while chunk := file.read(1 << 20):
                        upload.write(chunk)
                upload.finish(digest, size_bytes)
            except BaseException:
                upload.cancel()
                raise
            return upload.etag

        return self._ask(url, send)

    def stated(self, url: str) -> tuple[int, str] | None:
        """Return the size of an object and the digest that its writer stated; None if there is none."""
        bucket, key = split(url)

        def head(client: Any) -> tuple[int, str] | None:
            try:
                answer = client.head_object(Bucket=bucket, Key=key)
            except client.exceptions.ClientError as error:
                if code_of(error) in MISSING:
                    return None
                raise
            complete(answer, "ContentLength")
            return int(answer["ContentLength"]), str(answer.get("Metadata", {}).get(DIGEST, ""))

        return self._ask(url, head)

    def copy(self, source: str, url: str, size_bytes: int) -> None:
        """Copy an object within a bucket, with its metadata; its bytes do not pass through here."""
        (bucket, key), (_, from_key) = split(url), split(source)
        origin = {"Bucket": bucket, "Key": from_key}
        if size_bytes <= COPY_BYTES:
            self._ask(url, lambda client: client.copy_object(Bucket=bucket, Key=key, CopySource=origin))
            return
        self._ask(url, lambda client: _copy_in_pieces(client, origin, key, size_bytes))

    def delete(self, url: str) -> None:
        """Remove an object, if it exists."""
        bucket, key = split(url)
        self._ask(url, lambda client: client.delete_object(Bucket=bucket, Key=key))


class Download:
    """An object that is being read: its bytes, and its version where the bucket keeps versions."""

    file: BinaryIO
    version: str = ""


class Document(NamedTuple):
    """A small object: its bytes, what S3 calls them, and for how long it has been there, by S3's clock."""

    data: bytes
    etag: str
    age_s: float


def changed(where: str, *, gone: bool = False) -> BatchChanged:
    """Return the error for an input that is not what the plan was made of."""
    return BatchChanged(
        f"input {where}",
        expected="the bytes it had at the start",
        found="none" if gone else "others",
        hint="score a copy that nobody writes to, into another folder",
    )


def _errors(url: str) -> AbstractContextManager[None]:
    return s3_errors(url, kind="", hints=_HINTS)


def _date(answer: dict[str, Any]) -> float:
    """Return the time of the server that answered: clocks of two machines need not agree."""
    from email.utils import parsedate_to_datetime

    stated = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if stated is None:
        raise AnswerRefused("an answer without `Date`")
    return parsedate_to_datetime(stated).timestamp()


def _list_page(asked: dict[str, Any], client: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", client.list_objects_v2(**asked))


def _copy_in_pieces(client: Any, origin: dict[str, str], key: str, size_bytes: int) -> None:
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/CopyingObjectsMPUapi.html
    head = client.head_object(**origin)
    to = {"Bucket": origin["Bucket"], "Key": key}
    upload = {"UploadId": client.create_multipart_upload(**to, Metadata=head["Metadata"])["UploadId"]}
    parts = []
    try:
        for number, start in enumerate(range(0, size_bytes, COPY_PIECE_BYTES), 1):
            end = min(size_bytes, start + COPY_PIECE_BYTES) - 1
            copied = client.upload_part_copy(
                **to, **upload, PartNumber=number, CopySource=origin, CopySourceRange=f"bytes={start}-{end}"
            )
            parts.append({"ETag": copied["CopyPartResult"]["ETag"], "PartNumber": number})
        client.complete_multipart_upload(**to, **upload, MultipartUpload={"Parts": parts})
    except BaseException:
        client.abort_multipart_upload(**to, **upload)
        raise
