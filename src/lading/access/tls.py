"""TLS from files: certificate, key, and who signs clients' certificates; read again when they change.

TLS 1.2 at least, as OpenSSL's own defaults choose ciphers. A context is never changed: connections that are
open keep theirs, and those that come later get the next.
"""

from __future__ import annotations

import logging
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lading.access.watch import FileWatch
from lading.clock import iso_time
from lading.errors import InvalidSetting

log = logging.getLogger("lading.access")

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
# Tags of DER (X.690, 8.1.2): the context's own [0], constructed, and UTCTime.
_VERSION, _UTC_TIME = 0xA0, 0x17


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of a server, in PEM. With a ``client_ca``, ``needs_client`` says if clients need theirs."""

    cert: Path
    key: Path
    client_ca: Path | None = None
    needs_client: bool = True

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file."""
        return (self.cert, self.key, *((self.client_ca,) if self.client_ca is not None else ()))


@dataclass(frozen=True, slots=True)
class TlsPair:
    """What was read at one moment: PEM, for libraries that take it so."""

    cert: bytes
    key: bytes
    client_ca: bytes | None


def tls_files(cert: str, key: str, client_ca: str = "", clients: str = "required") -> TlsFiles | None:
    """Return the files that settings name, or None if they name none; raises `InvalidSetting`."""
    if not (cert or key or client_ca):
        return None
    if not cert or not key:
        missing = "`tls_key`" if cert else "`tls_cert`"
        hint = "TLS needs the certificate and its key"
        raise InvalidSetting(missing, expected="the name of a file", found="none", hint=hint)
    ca = Path(client_ca).expanduser() if client_ca else None
    return TlsFiles(Path(cert).expanduser(), Path(key).expanduser(), ca, clients == "required")


class Tls:
    """The present TLS of a server; raises `InvalidSetting` for files that cannot be used.

    Later changes that cannot be used are logged, and what was read before still holds.
    """

    def __init__(self, files: TlsFiles, clock: Callable[[], float], *, every_s: float = 1.0) -> None:
        self.files = files
        self._clock = clock
        self._lock = threading.Lock()
        self.changed = 0
        self._read()
        self._watch = FileWatch(files.paths, self._reload, every_s=every_s)

    def close(self) -> None:
        """Watch the files no longer."""
        self._watch.close()

    def context(self) -> ssl.SSLContext:
        """Return the context of a connection that begins now."""
        with self._lock:
            return self._context

    def pair(self) -> TlsPair:
        """Return what was last read, which fits together."""
        with self._lock:
            return self._pair

    def _reload(self) -> None:
        self._read()
        log.info("certificate of %s was read again; it holds until %s", self.files.cert, self._until)

    def _read(self) -> None:
        context, pair, until = _read(self.files, self._clock())
        with self._lock:
            self._context, self._pair, self._until = context, pair, until
            self.changed += 1


def check_tls(files: TlsFiles, now: float) -> None:
    """Raise `InvalidSetting` for files that cannot be used at the Unix time `now`."""
    _read(files, now)


def _read(files: TlsFiles, now: float) -> tuple[ssl.SSLContext, TlsPair, str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # RFC 7301: clients that offer HTTP/2 as well learn in the handshake that it is not spoken here.
    context.set_alpn_protocols(["http/1.1"])
    pair = TlsPair(
        _bytes(files.cert, "tls_cert"),
        _bytes(files.key, "tls_key"),
        _bytes(files.client_ca, "tls_client_ca") if files.client_ca is not None else None,
    )
    # Before OpenSSL looks: it takes a certificate that has expired without a word.
    until = _check_certificate(files.cert, pair.cert, now)
    _load_chain(context, files)
    if pair.client_ca is not None:
        _load_ca(context, files, pair.client_ca)
    return context, pair, until


def _load_chain(context: ssl.SSLContext, files: TlsFiles) -> None:
    if b"ENCRYPTED" in _bytes(files.key, "tls_key"):
        where, expected = f"`{files.key}`", "a private key without password"
        raise InvalidSetting(where, expected=expected, found="one that is encrypted")
    try:
        # An empty password: a key that has one is refused, and nobody is asked for it on a terminal.
        context.load_cert_chain(files.cert, files.key, password="")
    except ssl.SSLError as error:
        reason = getattr(error, "reason", "") or ""
        # OpenSSL: X509_R_KEY_VALUES_MISMATCH; the usual cause is a renewal that replaced one file of two.
        if "MISMATCH" in reason:
            where, expected = f"`{files.key}`", f"the private key of the certificate in `{files.cert}`"
            raise InvalidSetting(where, expected=expected, found="that of another one") from None
        place = f"`{files.cert}`, `{files.key}`"
        expected = "a certificate and its private key in PEM"
        actual = f"what OpenSSL cannot read ({reason.lower().replace('_', ' ') or 'another form'})"
        raise InvalidSetting(place, expected=expected, found=actual) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidSetting(f"`{files.key}`", expected="a file that can be read", found=reason) from None


def _load_ca(context: ssl.SSLContext, files: TlsFiles, data: bytes) -> None:
    try:
        context.load_verify_locations(cadata=data.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError):
        where, expected = f"`{files.client_ca}`", "certificates in PEM"
        raise InvalidSetting(where, expected=expected, found="another form") from None
    context.verify_mode = ssl.CERT_REQUIRED if files.needs_client else ssl.CERT_OPTIONAL


def _check_certificate(path: Path, data: bytes, now: float) -> str:
    """Return until when a certificate holds; raises `InvalidSetting` if that is over, or not yet begun."""
    match = _PEM.search(data)
    if match is None:
        raise InvalidSetting(f"`{path}`", expected="a certificate in PEM", found="another form")
    try:
        begins, ends = validity(ssl.PEM_cert_to_DER_cert(match[0].decode()))
    except (ValueError, IndexError):
        raise InvalidSetting(f"`{path}`", expected="a certificate in PEM", found="another form") from None
    if ends <= now:
        actual = f"one that expired at {iso_time(ends)}"
        raise InvalidSetting(f"`{path}`", expected="a certificate that holds", found=actual)
    if begins > now:
        actual = f"one that begins at {iso_time(begins)}"
        raise InvalidSetting(f"`{path}`", expected="a certificate that holds", found=actual)
    return iso_time(ends)


def validity(data: bytes) -> tuple[float, float]:
    """Return from when and until when a certificate in DER holds; raises `ValueError` if it is none.

    Read here, because the standard library has no public way and a server with keys alone no cryptography.
    """
    _, certificate, _ = _element(data)
    _, fields, _ = _element(certificate)
    kind, _, rest = _element(fields)
    # RFC 5280, 4.1: a version may stand before serial number, algorithm, issuer and validity.
    for _ in range(3 if kind == _VERSION else 2):
        _, _, rest = _element(rest)
    _, times, _ = _element(rest)
    first, begins, rest = _element(times)
    second, ends, _ = _element(rest)
    return _time(first, begins), _time(second, ends)


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Return the kind and the content of the first element of DER, and what follows it."""
    kind, length, start = data[0], data[1], 2
    # X.690, 8.1.3.5: the long form, whose first octet has the number of those that follow.
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start])
    if start + length > len(data):
        raise ValueError("cut short")
    return kind, data[start : start + length], data[start + length :]


def _time(kind: int, content: bytes) -> float:
    # RFC 5280, 4.1.2.5: UTCTime until 2049, GeneralizedTime after that.
    form = "%y%m%d%H%M%SZ" if kind == _UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(content.decode("ascii"), form).replace(tzinfo=UTC).timestamp()


def _bytes(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        where = f"`{setting}`, `{path}`"
        raise InvalidSetting(where, expected="a file that can be read", found=reason) from None
