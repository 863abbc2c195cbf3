"""The address of the pages. Imports no library, so that a server can listen for the hub beside it."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from lading.errors import InvalidSetting


@dataclass(frozen=True, slots=True)
class HubSecurity:
    """The files of a hub's access control and TLS; empty for none."""

    access: str = ""
    tls_cert: str = ""
    tls_key: str = ""


def listen(host: str, port: int, setting: str = "`--port`") -> socket.socket:
    """Return a socket that listens. Raises `InvalidSetting` for an address that is taken."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _not_free(setting, host, port, error) from None
    try:
        # Connections of the process before stay in TIME_WAIT for a minute, and would keep the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise _not_free(setting, host, port, error) from None
    return listener


def _not_free(setting: str, host: str, port: int, error: OSError) -> InvalidSetting:
    problem = f"`{host}:{port}`: {error.strerror or error}"
    return InvalidSetting(setting, expected="an address that is free", found=problem)
