"""HTTP to one registry: authentication, retries, and its errors as errors of lading.

Knows tokens and status codes, but no route of the distribution API: `Repository` does.
"""

from __future__ import annotations

import contextlib
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
from lading.blobs.retry import AnswerRefused, Retry, TransientError
from lading.bounded_http import (
    DOCUMENT_S,
    MAX_DOCUMENT_BYTES,
    fetch,
    open_client,
    read_answer,
    send,
    time_limit,
)
from lading.errors import BlobNotFound, LadingError, RegistryUnavailable
from lading.oci.credentials import DOCKER_HUB, Credentials, find_credentials

TIMEOUT = httpx.Timeout(60.0, connect=10.0)
TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
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
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        url: str,
        *,
        expect: Collection[int],
        headers: Mapping[str, str] | None = None,
        content: bytes | memoryview = b"",
        max_bytes: int = MAX_DOCUMENT_BYTES,
    ) -> httpx.Response:
        """Send a request, retried after transient faults, until the status is one of `expect`.

        `url` is absolute or a path. Raises `RegistryUnavailable`, also for more than `max_bytes`.
        """
        return self.retry.run(
            lambda: self.once(
                method, url, expect=expect, headers=headers, content=content, max_bytes=max_bytes
            )
        )

    def once(
        self,
        method: str,
        url: str,
        *,
        expect: Collection[int],
        headers: Mapping[str, str] | None = None,
        content: bytes | memoryview = b"",
        max_bytes: int | None = MAX_DOCUMENT_BYTES,
    ) -> httpx.Response:
        """Send a request once; raises `TransientError` for what may pass.

        None as `max_bytes` leaves the body of an expected answer unread.
        """
        url, all_headers = urljoin(self.base, url), dict(headers or {})
        if self._authorization and self._is_own(url):
            all_headers["authorization"] = self._authorization
        response = self._send(method, url, all_headers, content, max_bytes)
        # A redirect may have led to another host, which must not receive credentials.
        is_own = self._is_own(url) and self._is_own(str(response.url))
        if response.status_code == httpx.codes.UNAUTHORIZED and is_own:
            # This very header is sent: another thread may get one for another scope meanwhile.
            self._authorization = all_headers["authorization"] = self._authenticate(response)
            response = self._send(method, url, all_headers, content, max_bytes)
        if response.status_code in expect:
            return response
        raise self._refusal(method, url, self._read(response))

    def broken(self, doing: str, error: Exception) -> TransientError:
        """Return the fault of a connection that failed while `doing` something."""
        actual = " ".join(str(error).split()) or type(error).__name__
        hint = "is the registry running, and is its host right?"
        fault = TransientError(self.error(doing, f"no answer: {actual}", hint))
        fault.__cause__ = error
        return fault

    def error(self, doing: str, actual: str, hint: str | None = None) -> LadingError:
        """Return the error that says what was found while `doing` something."""
        where = f"registry `{self._host}/{self._repository}`"
        return RegistryUnavailable(where, expected=f"to {doing}", found=actual, hint=hint)

    def close(self) -> None:
        """Close all connections; they open again when used."""
        with self._lock:
            client, self._opened = self._opened, None
        if client is not None:
            client.close()

    @property
    def _client(self) -> httpx.Client:
        with self._lock:
            if self._opened is None:
                headers = {"user-agent": f"lading/{__version__}"}
                self._opened = open_client(verify=certificates(), timeout=TIMEOUT, headers=headers)
            return self._opened

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | memoryview,
        max_bytes: int | None,
    ) -> httpx.Response:
        body = {"content": bytes(content)} if content or method in {"POST", "PUT", "PATCH"} else {}
        with self._faults(_doing(method, url)):
            request = self._client.build_request(method, url, headers=headers, **body)  # type: ignore[arg-type]
            if max_bytes is not None:
                return fetch(self._client, request, max_bytes=max_bytes)
            with time_limit(DOCUMENT_S):
                return send(self._client, request)

    @contextlib.contextmanager
    def _faults(self, doing: str) -> Iterator[None]:
        """Raise `TransientError` for a broken connection, `RegistryUnavailable` for an improper answer."""
        try:
            yield
        except httpx.TransportError as error:
            raise self.broken(doing, error) from error
        except (AnswerRefused, httpx.InvalidURL, httpx.HTTPError) as error:
            raise self.error(doing, str(error)) from error

    def _is_own(self, url: str) -> bool:
        # A registry may redirect uploads and downloads to a storage host, with a signature in the URL instead
        # of credentials. The scheme counts: what is meant for HTTPS is not sent over plain HTTP.
        return urlsplit(url)[:2] == urlsplit(self.base)[:2]

    def _read(self, response: httpx.Response) -> httpx.Response:
        if response.is_closed:
            return response
        with self._faults("read an answer"), time_limit(DOCUMENT_S):
            return read_answer(response)

    def _refusal(self, method: str, url: str, response: httpx.Response) -> Exception:
        status = response.status_code
        text = _error_text(response)
        error = self.error(_doing(method, url), f"{status} {text}".strip(), self._hint(status, url))
        # What was sent has the right digest: docker-registry read a file while another writer wrote it.
        if status in TRANSIENT_STATUS or "DIGEST_INVALID" in text:
            return TransientError(error, after_s=_retry_after_s(response.headers.get("retry-after")))
        if "MANIFEST_BLOB_UNKNOWN" in text:
            hint = "a blob of it was removed meanwhile: try again"
            return BlobNotFound(error.where, expected=error.expected, found=error.found, hint=hint)
        return error

    def _hint(self, status: int, url: str) -> str | None:
        if status in {401, 403}:
            if urlsplit(url)[:2] == ("http", urlsplit(self.base).netloc) and not self._plain:
                return "it redirects to HTTP: have the proxy before it send `X-Forwarded-Proto: https`"
            return (
                f"log in as a user who may: `docker login {self._host}`, or `podman`, `skopeo`, `oras login`"
            )
        return None

    def _authenticate(self, response: httpx.Response) -> str:
        """Return the header that a 401 asks for."""
        # https://distribution.github.io/distribution/spec/auth
        response = self._read(response)
        challenge = response.headers.get("www-authenticate", "")
        kind = challenge.partition(" ")[0].lower()
        credentials = find_credentials(self._host, self._repository, self._environ)
        if kind == "basic" and credentials is not None and credentials.user:
            return credentials.basic
        if kind == "bearer":
            return "Bearer " + self._token(dict(_CHALLENGE.findall(challenge)), credentials)
        raise self._refusal(response.request.method, str(response.request.url), response)

    def _token(self, challenge: dict[str, str], credentials: Credentials | None) -> str:
        realm, doing = challenge.get("realm", ""), "get a token"
        parameters = {key: challenge[key] for key in ("service", "scope") if challenge.get(key)}
        if urlsplit(realm).scheme not in ({"http", "https"} if self._plain else {"https"}):
            raise self.error(doing, f"a realm `{realm}`", "a token is only asked for over HTTPS")
        with self._faults(doing):
            if credentials is not None and credentials.identity_token:
                form = {
                    **parameters,
                    "grant_type": "refresh_token",
                    "client_id": "lading",
                    "refresh_token": credentials.identity_token,
                }
                request = self._client.build_request("POST", realm, data=form)
            else:
                basic = {} if credentials is None else {"authorization": credentials.basic}
                query = _token_query(parameters)
                request = self._client.build_request("GET", realm, params=query, headers=basic)
            # Not to another host: a form has the secret in its body, and a token from there would be its.
            answer = fetch(self._client, request, may_follow=lambda next_: _origin(next_) == _origin(request))
        if answer.status_code != httpx.codes.OK:
            raise self._refusal("GET", realm, answer)
        fields = _json_object(answer)
        # Registries send either; OAuth 2's name is the second.
        issued = fields.get("token") or fields.get("access_token")
        if not isinstance(issued, str):
            raise self.error(doing, "an answer without one")
        return issued


class HttpStream:
    """The body of a response to a GET from `offset` on, read as it comes."""

    def __init__(self, transport: Transport, response: httpx.Response, offset: int) -> None:
        self._transport = transport
        self._response = response
        self._offset = offset
        # 200 instead of 206 is the whole blob, from a server or proxy that knows no `Range` (RFC 9110, 14.2).
        self._skip = offset if response.status_code == httpx.codes.OK else 0

    @property
    def size_bytes(self) -> int | None:
        """The length of the whole blob as the response states it; None if it does not."""
        whole = self._response.headers.get("content-range", "").rpartition("/")[2]
        if whole.isdecimal():
            return int(whole)
        rest = content_bytes(self._response)
        return None if rest is None else self._offset - self._skip + rest

    def chunks(self) -> Iterator[bytes]:
        """Return the bytes from the offset on; raises `TransientError` if the connection breaks."""
        skip = self._skip
        try:
            for chunk in self._response.iter_raw():
                if skip < len(chunk):
                    yield chunk[skip:]
                skip = max(skip - len(chunk), 0)
        except httpx.TransportError as error:
            raise self._transport.broken("read a blob to its end", error) from error

    def close(self) -> None:
        """Close the connection."""
        self._response.close()


def content_bytes(response: httpx.Response) -> int | None:
    """Return the length of a body as the response states it; a proxy that sends it chunked does not."""
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


@functools.cache
def certificates() -> ssl.SSLContext:
    """Return the trusted certificates of this machine, or of ``SSL_CERT_FILE``."""
    # Once for all clients: an image is read from one repository and written to another, and reading the
    # certificates takes 20 ms.
    return httpx.create_ssl_context()


def _origin(request: httpx.Request) -> tuple[str, str, int | None]:
    return request.url.scheme, request.url.host, request.url.port


def _doing(method: str, url: str) -> str:
    # The query of a URL may be a secret.
    return f"{method} `{urlsplit(url).path}`"


def _error_text(response: httpx.Response) -> str:
    """Return the first error in a response, in one line."""
    # https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
    errors = _json_object(response).get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    words = [str(first[key]) for key in ("code", "message") if first.get(key)]
    return ": ".join(words) or response.reason_phrase


def _json_object(response: httpx.Response) -> dict[str, object]:
    try:
        value = msgspec.json.decode(response.content)
    except (ValueError, httpx.ResponseNotRead):
        return {}
    return value if isinstance(value, dict) else {}


def _token_query(parameters: dict[str, str]) -> httpx.QueryParams:
    """Return the query of a token request."""
    # A challenge joins scopes with spaces; a request repeats the parameter.
    scopes = parameters.get("scope", "").split()
    rest = [(key, value) for key, value in parameters.items() if key != "scope"]
    return httpx.QueryParams(tuple(rest + [("scope", scope) for scope in scopes]))


def _retry_after_s(text: str | None) -> float:
    return float(text) if text is not None and text.isdecimal() else 0.0
