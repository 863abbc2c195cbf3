"""Turns errors of S3 and botocore into `RegistryUnavailable`, with a hint. Retries nothing: botocore does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lading.blobs.retry import AnswerRefused
from lading.errors import RegistryUnavailable

_RIGHTS = (
    "the credentials need GetObject, PutObject, DeleteObject and ListBucket there, and for `lading gc` and "
    "pushes that break off also ListBucketMultipartUploads, ListMultipartUploadParts and AbortMultipartUpload"
)
_HINTS = {
    "NoSuchBucket": "make the bucket, or name another in `LADING_STORE`",
    "AccessDenied": _RIGHTS,
    "403": _RIGHTS,
    "InvalidAccessKeyId": "check `AWS_ACCESS_KEY_ID` or the profile",
    "SignatureDoesNotMatch": "check `AWS_SECRET_ACCESS_KEY` or the profile",
    "ExpiredToken": "renew them, or use a role or a profile with `credential_process`",
    "NoCredentialsError": "set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, a profile or a role",
    "EndpointConnectionError": "is the store running, and is `AWS_ENDPOINT_URL` right?",
}


@contextmanager
def s3_errors(where: str, *, kind: str = "store", hints: Mapping[str, str] | None = None) -> Iterator[None]:
    """Raise `RegistryUnavailable`, which names `where`, for any error of botocore or of its connection.

    `kind` is the word before that, and `hints` are by S3's name of the error, before those for stores.
    """
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except (ClientError, BotoCoreError, HTTPClientError, ResponseParserError, AnswerRefused) as error:
        name = code_of(error) or type(error).__name__
        actual = " ".join(str(error).split())
        raise RegistryUnavailable(
            f"{kind} `{where}`".lstrip(),
            expected="to read and write it",
            found=actual,
            hint={**_HINTS, **(hints or {})}.get(name),
        ) from error


def complete(answer: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return an answer that has all fields of these names. Raises `AnswerRefused`."""
    for name in names:
        if name not in answer:
            raise AnswerRefused(f"an answer without `{name}`")
    return answer


def code_of(error: Exception) -> str:
    """Return S3's name of an error, such as ``NoSuchKey``; empty if it did not come from S3."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
