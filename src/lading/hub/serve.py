"""The process of the hub: the follower, the application, and uvicorn until SIGTERM."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

from lading.errors import InvalidSetting, missing_extra
from lading.hub.follower import Follower
from lading.registry import Registry

# What a browser on this machine calls it. Of another address, the proxy in front knows the names.
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})

log = logging.getLogger("lading.hub")


def serve(
    registry: Registry,
    host: str,
    port: int,
    log_level: str,
    on_ready: Callable[[str], None],
    key: str | None = None,
    *,
    prediction_log: str = "",
) -> None:
    """Serve the pages until SIGTERM or Ctrl-C; `on_ready` is called with their address.

    People who have the `key` can act on them; without one, nobody can. `prediction_log` is the log
    that pages show, by default that of `lading log`.

    Raises `ExtraMissing` without the libraries of the extra `hub`, and `InvalidSetting` for an address that
    cannot be listened on.
    """
    try:
        import uvicorn

        from lading.hub.access import Access
        from lading.hub.app import make_app
    except ModuleNotFoundError as error:
        raise missing_extra("`lading hub`", "hub", error) from error
    # The port before the registry: an address that is taken is said at once.
    listener = _listener(host, port)
    follower = Follower(registry)
    follower.start()
    try:
        is_local = host in _LOOPBACK or host == "::1"
        hosts = _LOOPBACK if is_local else frozenset()
        app = make_app(registry, follower, hosts, Access(key), log=prediction_log)
        # What uvicorn tells of itself is not what anybody wants to know at `info`.
        level = "warning" if log_level == "info" else log_level
        config = uvicorn.Config(app, log_level=level, access_log=False, server_header=False, ws="none")
        name = f"[{host}]" if ":" in host else host
        on_ready(f"http://{name}:{listener.getsockname()[1]}/")
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        follower.close()
        listener.close()


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        problem = f"`{host}:{port}`: {error.strerror or error}"
        raise InvalidSetting("`--port`", expected="an address that is free", found=problem) from None
    return listener
