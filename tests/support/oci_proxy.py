"""What stands before registries: a proxy that speaks TLS and plain HTTP, and may answer itself."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CHUNK_BYTES = 1 << 16


class ProxiedRequest(NamedTuple):
    """A request that came to the front."""

    scheme: str
    method: str
    path: str
    authorization: str | None


class Answer(NamedTuple):
    """What the front says itself."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})


class RegistryProxy(ThreadingHTTPServer):
    """Passes requests on to `registry` as they come, but for those that `instead` answers.

    With `forwarded` the registry receives the scheme of the request. With `chunked` no answer has a
    length; `cuts` of the bodies end after `cut_after` bytes. Without `ranges` it always gives whole bodies.
    With `certificate`, a file of key and certificate, the same port speaks TLS to those who begin with it.
    """

    def __init__(self, registry: str, *, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.registry = registry
        self.override: Callable[[ProxiedRequest], Answer | None] = lambda _: None
        self.forwarded = ""
        self.chunked = False
        self.ranges = True
        self.cut_after, self.cuts = 0, 0
        self.requests: list[ProxiedRequest] = []
        self.address = f"127.0.0.1:{self.server_port}"
        self._tls = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def finish_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:
        """Answer one connection, in TLS if it begins as TLS does."""
        with contextlib.suppress(OSError):
            if self._tls is None or request.recv(1, socket.MSG_PEEK) != b"\x16":
                super().finish_request(request, client_address)
                return
            with self._tls.wrap_socket(request, server_side=True) as secure:
                super().finish_request(secure, client_address)

    def handle_error(self, *_: object) -> None:
        """Say nothing of connections that a test cuts."""


class _Handler(BaseHTTPRequestHandler):
    server: RegistryProxy
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        scheme = "https" if isinstance(self.connection, ssl.SSLSocket) else "http"
        request = ProxiedRequest(scheme, self.command, self.path, self.headers.get("authorization"))
        self.server.requests.append(request)
        answer = self.server.override(request)
        if answer is not None:
            headers = {**answer.headers, "content-length": str(len(answer.body))}
            self._send(answer.status, headers, answer.body, chunked=False)
            return
        registry = http.client.HTTPConnection(self.server.registry)
        with contextlib.closing(registry):
            # The host stays as it was asked for, so that the registry leads back to here.
            forwarded = {"x-forwarded-proto": self.server.forwarded} if self.server.forwarded else {}
            asked = {**dict(self.headers), **forwarded}
            if not self.server.ranges:
                asked = {name: value for name, value in asked.items() if name.lower() != "range"}
            registry.request(self.command, self.path, body or None, asked)
            response = registry.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            self._send(response.status, headers, response.read(), chunked=self.server.chunked)

    def __getattr__(self, name: str) -> Callable[[], None]:
        # The base class looks for `do_GET` and the like.
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _send(self, status: int, headers: dict[str, str], body: bytes, *, chunked: bool) -> None:
        self.send_response(status)
        if chunked:
            headers = {**headers, "transfer-encoding": "chunked"}
            headers.pop("content-length", None)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD" or status == http.client.NO_CONTENT:
            return
        if self.server.cuts and len(body) > self.server.cut_after:
            self.server.cuts -= 1
            self.close_connection = True
            self._write(body[: self.server.cut_after], chunked=chunked)
            return
        self._write(body, chunked=chunked)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _write(self, body: bytes, *, chunked: bool) -> None:
        for at in range(0, len(body), CHUNK_BYTES):
            piece = body[at : at + CHUNK_BYTES]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def registry_proxy(registry: str = "", *, certificate: Path | None = None) -> Iterator[RegistryProxy]:
    """Return a proxy before `registry` and close it in the end."""
    opened = RegistryProxy(registry, certificate=certificate)
    try:
        yield opened
    finally:
        opened.shutdown()
        opened.server_close()


def certificate_for_this_machine(path: Path) -> Path:
    """Write a key and a certificate of 127.0.0.1 that is its own authority."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "t")]),
    )
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.public_key(key.public_key()).not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    builder = builder.add_extension(x509.SubjectAlternativeName([here]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def refusing(method: str, part: str, *answers: int, body: bytes = b""):
    """Answer requests of `method` with `part` in their path by these statuses in turn; the last one stays.

    0 lets the registry answer.
    """
    left = list(answers)

    def override(request: ProxiedRequest) -> Answer | None:
        if request.method != method or part not in request.path:
            return None
        status = left.pop(0) if len(left) > 1 else left[0]
        return Answer(status, body) if status else None

    return override
