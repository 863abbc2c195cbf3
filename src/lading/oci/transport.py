"""HTTP to one registry: authentication, retries, and its errors in our words.

Knows tokens and status codes, but no route of the distribution API: `distribution` does.
"""

from __future__ import annotations

import functools
import os
import re
import ssl
import threading
from collections.abc import Collection, Iterator, Mapping
from urllib.parse import urljoin, urlsplit

import httpx
import msgspec

from lading import __version__
from lading.blobs.retry import Retry, TransientError
from lading.errors import BlobNotFound, LadingError, RegistryUnavailable
from lading.oci.credentials import DOCKER_HUB, Credentials, find_credentials

TIMEOUT = httpx.Timeout(60.0, connect=10.0)
PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_HUB_API = "registry-1.docker.io"


class Transport:
    """Requests to the registry `host` on behalf of one repository. Threads may share it."""

    def __init__(
        self,
        host: str,
        repository: str,
        *,
        plain: bool,
        retry: Retry | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._host = host
        self._repository = repository
        self._plain = plain
        self._environ = environ
        self.retry = retry or Retry()
        scheme = "http" if plain else "https"
        self.base = f"{scheme}://{_HUB_API if host == DOCKER_HUB else host}"
        self._opened: httpx.Client | None = None
        self._authorization = ""
        self._turn = threading.Lock()

    def request(
        self,
        method: str,
        url: str,
        *,
        expect: Collection[int],
        headers: Mapping[str, str] | None = None,
        content: bytes | memoryview = b"",
    ) -> httpx.Response:
        """Send a request, again while it fails in passing, until the status is one of `expect`.

        `url` is absolute or a path. Raises `RegistryUnavailable`.
        """
        return self.retry.run(lambda: self.once(method, url, expect=expect, headers=headers, content=content))

    def once(
        self,
        method: str,
        url: str,
        *,
        expect: Collection[int],
        headers: Mapping[str, str] | None = None,
        content: bytes | memoryview = b"",
        stream: bool = False,
    ) -> httpx.Response:
        """Send a request once; what may pass is raised as `TransientError`. `stream` leaves the body unread."""
        url, sent = urljoin(self.base, url), dict(headers or {})
        if self._authorization and self._is_ours(url):
            sent["authorization"] = self._authorization
        response = self._send(method, url, sent, content, stream)
        # A redirect may have led elsewhere: whoever answers there is told nothing.
        ours = self._is_ours(url) and self._is_ours(str(response.url))
        if response.status_code == httpx.codes.UNAUTHORIZED and ours:
            # Sent as it was got: another thread may get one for something else meanwhile.
            self._authorization = sent["authorization"] = self._authenticate(response)
            response = self._send(method, url, sent, content, stream)
        if response.status_code in expect:
            return response
        self._read(response)
        raise self._refused(method, url, response)

    def broken(self, doing: str, error: Exception) -> TransientError:
        """Describe a connection that failed while `doing` something."""
        found = " ".join(str(error).split()) or type(error).__name__
        hint = "is the registry running, and is its host right?"
        passing = TransientError(self.error(doing, f"no answer: {found}", hint))
        passing.__cause__ = error
        return passing

    def error(self, doing: str, found: str, hint: str | None = None) -> LadingError:
        """Make the error that says what was found while `doing` something."""
        where = f"registry `{self._host}/{self._repository}`"
        return RegistryUnavailable(where, expected=f"to {doing}", found=found, hint=hint)

    def close(self) -> None:
        """Close all connections; they open again when used."""
        with self._turn:
            client, self._opened = self._opened, None
        if client is not None:
            client.close()

    @property
    def _client(self) -> httpx.Client:
        with self._turn:
            if self._opened is None:
                headers = {"user-agent": f"lading/{__version__}", "accept-encoding": "identity"}
                self._opened = httpx.Client(
                    verify=_certificates(), timeout=TIMEOUT, headers=headers, follow_redirects=True
                )
            return self._opened

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | memoryview,
        stream: bool,
    ) -> httpx.Response:
        body = {"content": bytes(content)} if content or method in {"POST", "PUT", "PATCH"} else {}
        try:
            request = self._client.build_request(method, url, headers=headers, **body)  # type: ignore[arg-type]
            return self._client.send(request, stream=stream)
        except httpx.TransportError as error:
            raise self.broken(_doing(method, url), error) from error
        except (httpx.InvalidURL, httpx.HTTPError) as error:
            raise self.error(_doing(method, url), str(error)) from error

    def _is_ours(self, url: str) -> bool:
        # A registry sends uploads and downloads elsewhere with addresses that carry their own proof.
        # The scheme counts: what is meant for HTTPS is not said over plain HTTP to the same host.
        return urlsplit(url)[:2] == urlsplit(self.base)[:2]

    def _read(self, response: httpx.Response) -> None:
        try:
            response.read()
        except httpx.TransportError as error:
            raise self.broken("read an answer", error) from error
        finally:
            response.close()

    def _refused(self, method: str, url: str, response: httpx.Response) -> Exception:
        status = response.status_code
        said = _said(response)
        error = self.error(_doing(method, url), f"{status} {said}".strip(), self._hint(status, url))
        # What is sent has its right digest: docker-registry read a file that another writer was just writing.
        if status in PASSING_STATUS or "DIGEST_INVALID" in said:
            return TransientError(error, after_s=_seconds(response.headers.get("retry-after")))
        if "MANIFEST_BLOB_UNKNOWN" in said:
            hint = "somebody removed a blob of it meanwhile: do it again"
            return BlobNotFound(error.where, expected=error.expected, found=error.found, hint=hint)
        return error

    def _hint(self, status: int, url: str) -> str | None:
        if status in {401, 403}:
            if urlsplit(url)[:2] == ("http", urlsplit(self.base).netloc) and not self._plain:
                return "it leads from HTTPS to HTTP: have the proxy before it say `X-Forwarded-Proto: https`"
            return (
                f"log in as a user who may: `docker login {self._host}`, or `podman`, `skopeo`, `oras login`"
            )
        return None

    def _authenticate(self, response: httpx.Response) -> str:
        """Get the header that a 401 asks for (https://distribution.github.io/distribution/spec/auth)."""
        self._read(response)
        challenge = response.headers.get("www-authenticate", "")
        kind = challenge.partition(" ")[0].lower()
        credentials = find_credentials(self._host, self._repository, self._environ)
        if kind == "basic" and credentials is not None and credentials.user:
            return credentials.basic
        if kind == "bearer":
            return "Bearer " + self._token(dict(_CHALLENGE.findall(challenge)), credentials)
        raise self._refused(response.request.method, str(response.request.url), response)

    def _token(self, challenge: dict[str, str], credentials: Credentials | None) -> str:
        realm, doing = challenge.get("realm", ""), "get a token"
        wanted = {key: challenge[key] for key in ("service", "scope") if challenge.get(key)}
        if urlsplit(realm).scheme not in ({"http", "https"} if self._plain else {"https"}):
            raise self.error(doing, f"a realm `{realm}`", "a token is only asked for over HTTPS")
        try:
            if credentials is not None and credentials.identity_token:
                token = credentials.identity_token
                form = {
                    **wanted,
                    "grant_type": "refresh_token",
                    "client_id": "lading",
                    "refresh_token": token,
                }
                answer = self._client.post(realm, data=form)
            else:
                basic = {} if credentials is None else {"authorization": credentials.basic}
                answer = self._client.get(realm, params=_scopes(wanted), headers=basic)
        except httpx.TransportError as error:
            raise self.broken(doing, error) from error
        if answer.status_code != httpx.codes.OK:
            raise self._refused("GET", realm, answer)
        found = _json(answer)
        given = found.get("token") or found.get("access_token")
        if not isinstance(given, str):
            raise self.error(doing, "an answer without one")
        return given


class HttpStream:
    """The body of an answer to a GET for what is behind `offset`, read as it comes.

    An answer 200 is the whole blob, of a server or proxy that knows no `Range` (RFC 9110, 14.2).
    """

    def __init__(self, transport: Transport, response: httpx.Response, offset: int) -> None:
        self._transport = transport
        self._response = response
        self._offset = offset
        self._again = offset if response.status_code == httpx.codes.OK else 0

    @property
    def size_bytes(self) -> int | None:
        """The length of the whole blob as the answer tells it; None if it does not."""
        whole = self._response.headers.get("content-range", "").rpartition("/")[2]
        if whole.isdecimal():
            return int(whole)
        rest = content_bytes(self._response)
        return None if rest is None else self._offset - self._again + rest

    def chunks(self) -> Iterator[bytes]:
        """Return the bytes from the offset on in order; raise `TransientError` where the connection breaks."""
        again = self._again
        try:
            for piece in self._response.iter_raw():
                if again < len(piece):
                    yield piece[again:]
                again = max(again - len(piece), 0)
        except httpx.TransportError as error:
            raise self._transport.broken("read a blob to its end", error) from error

    def close(self) -> None:
        """Let go of the connection."""
        self._response.close()


def content_bytes(response: httpx.Response) -> int | None:
    """Return the length of a body as the answer tells it; proxies that send it piecemeal do not."""
    told = response.headers.get("content-length", "")
    return int(told) if told.isdecimal() else None


@functools.cache
def _certificates() -> ssl.SSLContext:
    # Read once for all clients: an image is read from one repository and written to another, and each
    # reading takes 20 ms.
    return httpx.create_ssl_context()


def _doing(method: str, url: str) -> str:
    # What a URL says behind its path may be a secret.
    return f"{method} `{urlsplit(url).path}`"


def _said(response: httpx.Response) -> str:
    """Return what a registry says of an error (https://github.com/opencontainers/distribution-spec)."""
    errors = _json(response).get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    words = [str(first[key]) for key in ("code", "message") if first.get(key)]
    return ": ".join(words) or response.reason_phrase


def _json(response: httpx.Response) -> dict[str, object]:
    try:
        found = msgspec.json.decode(response.content)
    except (ValueError, httpx.ResponseNotRead):
        return {}
    return found if isinstance(found, dict) else {}


def _scopes(wanted: dict[str, str]) -> httpx.QueryParams:
    """Return the query of a token request: scopes that a challenge joins with spaces are sent one by one."""
    scopes = wanted.get("scope", "").split()
    rest = [(key, value) for key, value in wanted.items() if key != "scope"]
    return httpx.QueryParams(tuple(rest + [("scope", scope) for scope in scopes]))


def _seconds(text: str | None) -> float:
    return float(text) if text is not None and text.isdecimal() else 0.0
