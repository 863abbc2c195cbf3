"""Where webhooks may be sent, and how they are signed. Sends nothing.

A URL that a caller chooses must not make this server ask others for what the caller cannot reach: a name is
checked when the job comes, and the address that it resolves to when the connection is made.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from lading.errors import InvalidSetting, UsageError
from lading.settings import ServeSettings

HEADER = "x-lading-job-webhook"
LONGEST_URL = 2048

_SECRET_PREFIX = "whsec_"  # noqa: S105 - how the specification of Standard Webhooks marks secrets
_LEAST_SECRET_BYTES = 24
_NAME = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class HookRules:
    """The hosts that webhooks may be sent to, and the secrets that sign them; raises `InvalidSetting`."""

    def __init__(self, settings: ServeSettings) -> None:
        names = [name.strip().lower() for name in settings.job_webhook_hosts.split(",") if name.strip()]
        for name in names:
            if not (_NAME.fullmatch(name) or _is_address(name.strip("[]"))):
                expected = "names like `hooks.example.com` or `*.example.com`, or addresses, without a port"
                raise InvalidSetting("`job_webhook_hosts`", expected=expected, found=f"`{name}`")
        self._names = tuple(name.strip("[]") for name in names)
        self._secrets = read_secrets(settings.job_webhook_secret_file)

    @property
    def signs(self) -> bool:
        """Whether there is a secret: without one, webhooks are left to servers that have it."""
        return bool(self._secrets)

    def check(self, url: str) -> None:
        """Raise `UsageError` for a URL that no webhook may be sent to, and without a secret for any."""
        if not self._secrets:
            hint = "`lading serve --jobs --job-webhook-secret-file FILE`"
            expected = "none on a server without a secret that signs webhooks"
            raise UsageError(f"`{HEADER}`", expected=expected, found="one", hint=hint)
        where = f"`{HEADER}`"
        try:
            parts = urlsplit(url)
            host, _port = (parts.hostname or "").lower(), parts.port
        except ValueError as error:
            raise UsageError(where, expected="a URL", found=f"`{url[:200]}` ({error})") from None
        if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
            expected = f"a URL of at most {LONGEST_URL} printable characters"
            raise UsageError(where, expected=expected, found="another text")
        if not host or parts.username is not None or parts.password is not None or parts.fragment:
            expected = "a URL with a host, without a user and a fragment"
            raise UsageError(where, expected=expected, found=f"`{url[:200]}`")
        schemes = ("https", "http") if self.is_named(host) else ("https",)
        if self._names and not self.is_named(host):
            hint = "`--job-webhook-hosts` lists them"
            raise UsageError(where, expected="a host that is allowed", found=f"`{host[:200]}`", hint=hint)
        if parts.scheme not in schemes:
            raise UsageError(where, expected=" or ".join(schemes), found=f"`{parts.scheme}`")
        address = _spelled_out(host)
        if not self._names and address is not None and not is_public(address):
            hint = "`--job-webhook-hosts` allows a private one"
            raise UsageError(where, expected="a public address", found=f"`{host}`", hint=hint)

    def is_named(self, host: str) -> bool:
        """Return whether the setting names `host`, or a domain that it is below."""
        host = host.lower()
        return any(host.endswith(name[1:]) if name.startswith("*.") else host == name for name in self._names)

    def may_connect(self, host: str, address: str) -> bool:
        """Return whether a connection for `host` may be made to `address`."""
        return self.is_named(host) or (not self._names and is_public(address))

    def signatures(self, message_id: str, timestamp: int, body: bytes) -> str:
        """Return the value of ``webhook-signature``, one signature for each secret."""
        # https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
        signed = f"{message_id}.{timestamp}.".encode() + body
        digests = (hmac.new(secret, signed, hashlib.sha256).digest() for secret in self._secrets)
        return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def read_secrets(file: str) -> Sequence[bytes]:
    """Read the secrets of a file, a line for each; none without a file. Raises `InvalidSetting`."""
    if not file:
        return ()
    where = "`job_webhook_secret_file`"
    expected = f"lines of `{_SECRET_PREFIX}` and at least {_LEAST_SECRET_BYTES} bytes in base64"
    try:
        lines = Path(file).expanduser().read_text(encoding="utf-8").split()
    except OSError as error:
        raise InvalidSetting(where, expected=expected, found=f"`{file}`: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidSetting(where, expected=expected, found=f"`{file}`, which is not UTF-8") from None
    secrets = []
    for number, line in enumerate(lines, 1):
        try:
            secret = base64.b64decode(line.removeprefix(_SECRET_PREFIX), validate=True)
        except binascii.Error:
            secret = b""
        if not line.startswith(_SECRET_PREFIX) or len(secret) < _LEAST_SECRET_BYTES:
            # Never the line itself: it may be a secret with a slip.
            raise InvalidSetting(where, expected=expected, found=f"another text in line {number} of `{file}`")
        secrets.append(secret)
    if not secrets:
        raise InvalidSetting(where, expected=expected, found=f"`{file}` is empty")
    return secrets


def is_public(address: str) -> bool:
    """Return whether an address is one of the Internet, and none of this machine or of a private network."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return is_public(str(parsed.ipv4_mapped))
        # Addresses that a router translates to one of IPv4, which may be private.
        if parsed.sixtofour is not None or parsed.teredo is not None or parsed in _NAT64:
            return False
    return parsed.is_global and not parsed.is_multicast


def _spelled_out(host: str) -> str | None:
    """Return the address that a host is, as resolvers read it, or None for a name."""
    host = host.removesuffix(".")
    if _is_address(host.partition("%")[0]):
        return host
    try:
        # Also `127.1`, `0x7f.1` and `2130706433`, which a resolver takes for addresses.
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
