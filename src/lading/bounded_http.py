"""HTTP to servers that may be slow, broken or hostile: answers are bounded in bytes and time, and redirects.

Retries nothing, authenticates nobody and knows no error of lading: callers say what `AnswerRefused` means to
them. What is too large for memory is streamed by the caller, from the response that `send` returns.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

import httpcore
import httpx

from lading.blobs.retry import AnswerRefused

T = TypeVar("T")

# A manifest of the distribution API has at most 4 MiB, and other documents are smaller.
MAX_DOCUMENT_BYTES = 4 << 20
# How long a document may take from the request to its last byte, however often a byte of it arrives.
DOCUMENT_S = 90.0
MAX_REDIRECTS = 5

_SLICE_BYTES = 1 << 16
# Bodies that are sent count in addition to what the answer may take, at this least rate.
_LEAST_BYTES_PER_S = 100_000

_ends_at: ContextVar[float] = ContextVar("ends_at")


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Have every request of this thread end within `seconds`, or before, where another limit holds already.

    Beyond it, reading and writing raise `AnswerRefused`.
    """
    ends_at = time.monotonic() + seconds
    token = _ends_at.set(min(ends_at, _ends_at.get(ends_at)))
    try:
        yield
    finally:
        _ends_at.reset(token)


MayConnect = Callable[[str, str], bool]
"""Returns whether a host may be connected to at an address that its name resolves to."""


def open_client(*, may_connect: MayConnect | None = None, **options: Any) -> httpx.Client:
    """Return a client whose connections keep to `time_limit`; `options` are those of `httpx.Client`.

    With `may_connect`, each connection is to an address that it has allowed, whatever the name resolves to a
    moment later; `AnswerRefused` if it allows none.
    """
    client = httpx.Client(**options)
    client.headers["accept-encoding"] = "identity"
    # Passing a transport of our own would leave out the proxies that the environment names.
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001 - see test_private_parts
        if isinstance(transport, httpx.HTTPTransport):
            transport._pool._network_backend = _Backend(may_connect)  # noqa: SLF001 - see test_private_parts
    return client


def fetch(
    client: httpx.Client,
    request: httpx.Request,
    *,
    max_bytes: int = MAX_DOCUMENT_BYTES,
    within_s: float | None = None,
    may_follow: Callable[[httpx.Request], bool] | None = None,
) -> httpx.Response:
    """Send a request and return its whole answer. Raises `AnswerRefused` and the errors of httpx.

    A redirect is followed, or is the answer if `may_follow` refuses the next request; credentials go to no
    other host.
    """
    sent_s = int(request.headers.get("content-length", "0")) / _LEAST_BYTES_PER_S
    with time_limit((DOCUMENT_S if within_s is None else within_s) + sent_s):
        return read_answer(send(client, request, may_follow=may_follow), max_bytes=max_bytes)


def send(
    client: httpx.Client,
    request: httpx.Request,
    *,
    may_follow: Callable[[httpx.Request], bool] | None = None,
) -> httpx.Response:
    """Send a request, follow redirects, and return the answer with its body unread."""
    for _ in range(MAX_REDIRECTS + 1):
        response = client.send(request, stream=True, follow_redirects=False)
        # httpx leaves out the credentials of a request that goes to another host.
        following = response.next_request
        if following is None or (may_follow is not None and not may_follow(following)):
            return response
        # Its body is of no interest, and may have no end.
        response.close()
        request = following
    raise AnswerRefused(f"more than {MAX_REDIRECTS} redirects")


def read_answer(response: httpx.Response, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> httpx.Response:
    """Return an answer of `send` with its body."""
    try:
        content = read_bounded(_raw(response), max_bytes)
    finally:
        response.close()
    phrase = response.extensions.get("reason_phrase", b"")
    return httpx.Response(
        response.status_code,
        headers=response.headers,
        content=content,
        request=response.request,
        extensions={"reason_phrase": phrase},
    )


def read_bounded(chunks: Iterable[bytes], max_bytes: int) -> bytes:
    """Join `chunks`. Raises `AnswerRefused` as soon as there are more than `max_bytes`."""
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > max_bytes:
            most = f"{max_bytes >> 20} MiB" if max_bytes >= 1 << 20 else f"{max_bytes >> 10} KiB"
            raise AnswerRefused(f"an answer of more than {most}")
    return bytes(content)


def _raw(response: httpx.Response) -> Iterator[bytes]:
    if response.request.method == "HEAD":
        return iter(())
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        # Nobody asked for it, and a few bytes of it may be gigabytes.
        raise AnswerRefused(f"an answer in `{encoding[:40]}`, which was not asked for")
    return response.iter_raw(_SLICE_BYTES)


class _Backend(httpcore.SyncBackend):
    """Connects as httpcore does; reading and writing wait no longer than `time_limit` says."""

    def __init__(self, may_connect: MayConnect | None) -> None:
        super().__init__()
        self._may_connect = may_connect

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        connect = super().connect_tcp
        if self._may_connect is not None:
            # By its address and not by its name, which may resolve to another the next time. TLS still checks
            # the certificate against the name.
            host = _allowed_address(host, port, self._may_connect)
        return _Stream(
            _within(timeout, lambda left: connect(host, port, left, local_address, socket_options))
        )


def _allowed_address(host: str, port: int, may_connect: MayConnect) -> str:
    """Return the first allowed address of `host`; raises `AnswerRefused` and `httpcore.ConnectError`."""
    try:
        resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(str(error)) from error
    addresses = [str(entry[4][0]) for entry in resolved]
    allowed = (address for address in addresses if may_connect(host, address))
    address = next(allowed, None)
    if address is None:
        raise AnswerRefused(f"`{host}` at {', '.join(dict.fromkeys(addresses))}, which is not allowed")
    return address


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return _within(timeout, lambda left: self._stream.read(max_bytes, left))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In slices, because each call of the stream below waits by itself.
        parts = (buffer[start : start + _SLICE_BYTES] for start in range(0, len(buffer), _SLICE_BYTES))
        for part in parts:
            _within(timeout, functools.partial(self._stream.write, part))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        start = self._stream.start_tls
        return _Stream(_within(timeout, lambda left: start(ssl_context, server_hostname, left)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _within(timeout: float | None, act: Callable[[float | None], T]) -> T:
    """Call `act` with the time that it may take: `timeout`, or less where the time limit comes first."""
    ends_at = _ends_at.get(None)
    if ends_at is None:
        return act(timeout)
    left = ends_at - time.monotonic()
    if left <= 0:
        raise AnswerRefused("one that was not complete in time")
    if timeout is not None and timeout <= left:
        return act(timeout)
    try:
        return act(left)
    except httpcore.TimeoutException as error:
        raise AnswerRefused("one that was not complete in time") from error
