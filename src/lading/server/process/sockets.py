"""The two ports of a server, bound before anything is loaded. Accepts no connection itself."""

from __future__ import annotations

import errno
import socket

from lading.errors import InvalidSetting
from lading.settings import ServeSettings

_BACKLOG = 2048


def listen(settings: ServeSettings) -> socket.socket:
    """Return the listening socket of REST. Workers share it, so that waiting connections outlive any worker.

    Raises `InvalidSetting` if the port is taken, or the address is not one of this machine.
    """
    host, port = settings.host, settings.port
    listener = socket.socket(_family(host), socket.SOCK_STREAM)
    # A restarted server gets its port although connections of its predecessor are in TIME_WAIT (socket(7)).
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        hint = "choose another `--port`; 0 takes a free one"
        raise _cannot_bind(host, port, error, hint) from None
    listener.listen(_BACKLOG)
    return listener


def reserve_grpc_port(settings: ServeSettings) -> socket.socket | None:
    """Return a bound socket that reserves the port of gRPC without listening, or None if ``grpc_port`` is -1.

    grpcio takes no socket of ours: each process listens beside the one reserved here (SO_REUSEPORT). Raises
    `InvalidSetting` if another server has the port.
    """
    host, port = settings.host, settings.grpc_port
    if port < 0:
        return None
    reserved = socket.socket(_family(host), socket.SOCK_STREAM)
    try:
        if port:
            # Only our own workers may share the port. Binding without SO_REUSEPORT first also fails on the
            # port of another server that would share it.
            with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind((host, port))
    except OSError as error:
        reserved.close()
        hint = "choose another `--grpc-port`; 0 takes a free one, -1 serves no gRPC"
        raise _cannot_bind(host, port, error, hint) from None
    return reserved


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _cannot_bind(host: str, port: int, error: OSError, hint: str) -> InvalidSetting:
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return InvalidSetting(
            f"`{host}`",
            expected="an address of this machine",
            found=error.strerror,
            hint="`--host 0.0.0.0` listens on all",
        )
    return InvalidSetting(f"`{host}:{port}`", expected="a free address", found=error.strerror, hint=hint)
