"""Bounds what an S3 server may answer: bytes and time of documents, redirects, pages of a list.

botocore reads answers whole, whatever their size, and follows no redirect that does not name a region.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import HTTPClientError
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from lading.blobs.retry import AnswerRefused
from lading.bounded_http import DOCUMENT_S, MAX_REDIRECTS, read_bounded

# A page of a list has at most 1,000 keys of 1,024 bytes.
MAX_DOCUMENT_BYTES = 8 << 20
MAX_PAGES = 10_000
MAX_ENTRIES = 1_000_000

_SLICE_BYTES = 1 << 16
_REDIRECT = 307


def bound_answers(client: Any) -> None:
    """Have a client of botocore read no more than a document may have, and follow redirects itself."""
    session = client._endpoint.http_session  # noqa: SLF001 - see test_private_parts

    def send(request: AWSPreparedRequest, **_: Any) -> _BoundedResponse:
        streamed = request.stream_output
        # Otherwise the session reads the whole body at once.
        request.stream_output = True
        try:
            response = _BoundedResponse(session.send(request))
        finally:
            request.stream_output = streamed
        if not streamed:
            # Here, where botocore tries again what may pass.
            response.read()
        return response

    client.meta.events.register("before-send.s3", send)
    client.meta.events.register_first("needs-retry.s3", follow_redirect)


def follow_redirect(request_dict: dict[str, Any], response: Any, **_: Any) -> float | None:
    """Have botocore send a request again, signed for the host that a 307 names; return the pause before."""
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/Redirects.html
    answer = response[0] if response is not None else None
    if answer is None or answer.status_code != _REDIRECT or not answer.headers.get("location"):
        return None
    context = request_dict["context"]
    count = context.get("lading_redirects", 0) + 1
    if count > MAX_REDIRECTS:
        raise AnswerRefused(f"more than {MAX_REDIRECTS} redirects")
    url = urljoin(request_dict["url"], answer.headers["location"])
    # What is meant for HTTPS is not sent over plain HTTP.
    if urlsplit(url).scheme not in {"https", urlsplit(request_dict["url"]).scheme}:
        raise AnswerRefused(f"a redirect from HTTPS to `{urlsplit(url).scheme}`")
    context["lading_redirects"] = count
    # botocore would ask for the region of the bucket, and go where that leads.
    context.setdefault("s3_redirect", {})["redirected"] = True
    request_dict["url"] = url
    return 0


def entries(pages: Iterable[dict[str, Any]], name: str) -> Iterator[dict[str, Any]]:
    """Return the entries of all pages of a list. Raises `AnswerRefused` if it does not end."""
    count = 0
    for number, page in enumerate(pages, 1):
        for entry in page.get(name, []):
            count += 1
            yield entry
        if number >= MAX_PAGES or count > MAX_ENTRIES:
            raise AnswerRefused(f"more than {MAX_ENTRIES:,} entries or {MAX_PAGES:,} pages of a list")


class _BoundedResponse(AWSResponse):  # type: ignore[misc] # botocore has no types
    def __init__(self, response: AWSResponse) -> None:
        super().__init__(response.url, response.status_code, response.headers, _Raw(response.raw))
        self._ends_at = time.monotonic() + DOCUMENT_S
        self._read: bytes | None = None

    @property
    def content(self) -> bytes:
        return self.read()

    def read(self) -> bytes:
        """Read the body. Raises `AnswerRefused`, and `HTTPClientError` if the connection breaks."""
        if self._read is not None:
            return self._read
        try:
            content = read_bounded(self._chunks(), MAX_DOCUMENT_BYTES)
        except HTTPError as error:
            raise HTTPClientError(error=error) from error
        except AnswerRefused:
            self.raw.close()
            raise
        self._read = content
        return content

    def _chunks(self) -> Iterator[bytes]:
        while chunk := self.raw.read(_SLICE_BYTES):
            yield chunk
            if time.monotonic() > self._ends_at:
                raise AnswerRefused("one that was not complete in time")


class _Raw:
    """A body whose `read` returns what has arrived, so that its reader sees how slowly it comes."""

    def __init__(self, response: BaseHTTPResponse) -> None:
        self._response = response

    def read(self, amt: int | None = None) -> bytes:
        return self._response.read(amt) if amt is None else self._response.read1(amt)

    def stream(self) -> Iterator[bytes]:
        return iter(lambda: self.read(_SLICE_BYTES), b"")

    def close(self) -> None:
        self._response.close()
