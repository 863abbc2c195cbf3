"""The two ports of a server, bound before anything is loaded. Accepts no connection itself.

REST may listen on a Unix socket instead (``--host unix:PATH``): gRPC, whose workers could not share one, then
listens on this machine's own address.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

from lading.errors import InvalidSetting
from lading.settings import ServeSettings

_BACKLOG = 2048
_UNIX = "unix:"


class UnixListener(socket.socket):
    """A listening Unix socket, whose file is removed by the process that bound it, and by no other."""

    def __init__(self, path: Path) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self._path, self._owner = path, os.getpid()
        self._inode = 0

    def listen_at_path(self) -> None:
        """Bind and listen; the file of a server that has ended is replaced. Raises `OSError`."""
        if _is_abandoned(self._path):
            self._path.unlink()
        self.bind(str(self._path))
        self._inode = self._path.stat().st_ino
        self.listen(_BACKLOG)

    def close(self) -> None:
        """Remove the file, unless another server has it by now, and close."""
        if self._inode and os.getpid() == self._owner:
            inode, self._inode = self._inode, 0
            if self._path.exists() and self._path.stat().st_ino == inode:
                self._path.unlink()
        super().close()


def _is_abandoned(path: Path) -> bool:
    """Return whether a socket's file is left over: nothing listens at it any more."""
    if not path.exists() or not stat.S_ISSOCK(path.stat().st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
    return False


def address_of(listener: socket.socket, scheme: str = "http") -> str:
    """Return where a listener listens, as people write it."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"{_UNIX}{name}"
    host, port = name[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def rest_scheme(settings: ServeSettings) -> str:
    """Return the scheme of the REST port's address."""
    return "https" if settings.tls_cert else "http"


def tcp_host(host: str) -> str:
    """Return the host on which ports are opened: this machine alone where REST has a Unix socket."""
    return "127.0.0.1" if host.startswith(_UNIX) else host


def listen(settings: ServeSettings) -> socket.socket:
    """Return the listening socket of REST. Workers share it, so that waiting connections outlive any worker.

    Raises `InvalidSetting` if the port is taken, or the address is not one of this machine.
    """
    host, port = settings.host, settings.port
    if host.startswith(_UNIX):
        return _listen_unix(Path(host.removeprefix(_UNIX)))
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


def _listen_unix(path: Path) -> UnixListener:
    # Absolute: the process may change its folder before the file is removed.
    listener = UnixListener(path.absolute())
    try:
        listener.listen_at_path()
    except OSError as error:
        listener.close()
        hint = "choose another path; `curl --unix-socket PATH http://localhost/health` asks who has it"
        text = error.strerror or str(error)
        raise InvalidSetting(f"`{_UNIX}{path}`", expected="a free path", found=text, hint=hint) from None
    return listener


def reserve_grpc_port(settings: ServeSettings) -> socket.socket | None:
    """Return a bound socket that reserves the port of gRPC without listening, or None if ``grpc_port`` is -1.

    grpcio takes no socket of ours: each process listens beside the one reserved here (SO_REUSEPORT). Raises
    `InvalidSetting` if another server has the port.
    """
    host, port = tcp_host(settings.host), settings.grpc_port
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
