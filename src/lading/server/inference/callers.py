"""Who asks: one of a few groups of callers, so that no caller alone decides about a release.

A caller is an address, because keys and headers can be invented. Behind a proxy that is trusted it is the
address that the proxy states (`X-Forwarded-For`), or the key where it states none. No address is kept in
what is counted, only the number of its group.
"""

from __future__ import annotations

import hashlib
import ipaddress

from lading.errors import InvalidSetting
from lading.server.inference.traffic import KEY_HEADER, Headers
from lading.settings import ServeSettings
from lading.traffic import CALLER_GROUPS

_FORWARDED = b"x-forwarded-for"
_CACHED = 4096
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Callers:
    """Puts callers into groups, the same on every server; proxies in `trusted` networks state who asks.

    Raises `InvalidSetting` for what is no network.
    """

    def __init__(self, trusted: str = ServeSettings.trusted_proxies) -> None:
        self._trusted = tuple(_network(text.strip()) for text in trusted.split(",") if text.strip())
        self._direct: dict[str, int] = {}  # by address that is no trusted proxy
        self._through: dict[tuple[str, bytes | None, bytes | None], int] = {}
        self._addresses: dict[tuple[str, bytes | None], str] = {}

    def group(self, address: str, headers: Headers) -> int:
        """Return the group of a request that came from `address`, which is empty for a Unix socket."""
        group = self._direct.get(address)
        if group is not None:
            return group
        request = (address, headers.get(_FORWARDED), headers.get(KEY_HEADER))
        group = self._through.get(request)
        if group is None:
            if self._trusts(address):
                group = _group(self._caller(*request))
                if len(self._through) >= _CACHED:
                    self._through.clear()
                self._through[request] = group
            else:
                group = _group(_host(address))
                if len(self._direct) >= _CACHED:
                    self._direct.clear()
                self._direct[address] = group
        return group

    def address(self, address: str, forwarded: bytes | None) -> str:
        """Return the address of who asks, as far as trusted proxies state it; empty for a Unix socket."""
        caller = self._addresses.get((address, forwarded))
        if caller is None:
            caller = self._stated(address, forwarded)
            if len(self._addresses) >= _CACHED:
                self._addresses.clear()
            self._addresses[address, forwarded] = caller
        return caller

    def _stated(self, address: str, forwarded: bytes | None) -> str:
        if not self._trusts(address):
            return address
        hops = _hops(forwarded)
        # The same rule as of groups: the last one that no trusted proxy vouches for, else the first.
        return next((hop for hop in reversed(hops) if not self._trusts(hop)), hops[0] if hops else address)

    def _caller(self, address: str, forwarded: bytes | None, key: bytes | None) -> bytes:
        """Return who asks through a trusted proxy: the last address that is none itself, else the key."""
        hops = _hops(forwarded)
        # Each proxy appends whom it was asked by; what stands before an untrusted one may be invented.
        for hop in reversed(hops):
            if not self._trusts(hop):
                return _host(hop)
        if key is not None:
            return b"key " + key
        return _host(hops[0] if hops else address)

    def _trusts(self, text: str) -> bool:
        address = _address(text)
        if address is None:
            return not text  # A Unix socket is for those who may open it.
        return any(address in network for network in self._trusted)


def _hops(forwarded: bytes | None) -> list[str]:
    return [hop.strip() for hop in (forwarded or b"").decode("latin-1").split(",") if hop.strip()]


def _network(text: str) -> _Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise InvalidSetting(
            "`LADING_TRUSTED_PROXIES`", expected="addresses or networks such as 10.0.0.0/8", found=f"`{text}`"
        ) from None


def _address(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if address.version == 6 else None
    return mapped or address


def _host(text: str) -> bytes:
    """Return what stands for one host: its address, or the /64 of which one host has every address."""
    address = _address(text)
    if address is None or address.version == 4:
        return str(address or text).encode()
    return address.packed[:8]


def _group(caller: bytes) -> int:
    return hashlib.blake2b(caller, digest_size=8).digest()[0] % CALLER_GROUPS
