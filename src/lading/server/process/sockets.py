"""The two addresses of a server, taken before anything is loaded. Accepts no connection itself."""

from __future__ import annotations

import errno
import socket

from lading.errors import InvalidSetting
from lading.settings import ServeSettings


def listen(settings: ServeSettings) -> socket.socket:
    """Listen for REST. Workers share this socket, so that what waits on it outlives any of them.

    Raises `InvalidSetting` where the address is taken, or is none of this machine.
    """
    listener = socket.socket(_family(settings.host), socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise _taken(
            settings.host, settings.port, error, "choose another `--port`; 0 takes a free one"
        ) from None
    listener.listen(2048)
    return listener


def hold(settings: ServeSettings) -> socket.socket | None:
    """Hold the address of gRPC without listening; None where ``grpc_port`` is -1.

    grpcio takes no socket of ours: each process listens beside the one held here (SO_REUSEPORT). Raises
    `InvalidSetting` where another server has the address.
    """
    host, port = settings.host, settings.grpc_port
    if port < 0:
        return None
    held = socket.socket(_family(host), socket.SOCK_STREAM)
    try:
        if port:  # Sharing is for our own workers: another server's port is taken, even if it would share.
            with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, port))
    except OSError as error:
        held.close()
        hint = "choose another `--grpc-port`; 0 takes a free one, -1 serves no gRPC"
        raise _taken(host, port, error, hint) from None
    return held


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _taken(host: str, port: int, error: OSError, hint: str) -> InvalidSetting:
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return InvalidSetting(
            f"`{host}`",
            expected="an address of this machine",
            found=error.strerror,
            hint="`--host 0.0.0.0` listens on all",
        )
    return InvalidSetting(f"`{host}:{port}`", expected="a free address", found=error.strerror, hint=hint)
