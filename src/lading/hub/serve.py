"""The process of the hub: the follower, the application, and uvicorn until SIGTERM."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from lading.errors import missing_extra
from lading.hub.follower import Follower
from lading.hub.listening import HubSecurity, listen
from lading.registry import Registry

# What a browser on this machine calls it. Of another address, the proxy in front knows the names.
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})

_END_S = 5
"""How long answers may take that are under way when the hub ends."""

log = logging.getLogger("lading.hub")


def serve(  # noqa: PLR0913 - what a process is started with
    registry: Registry,
    host: str,
    port: int,
    log_level: str,
    on_ready: Callable[[str], None],
    key: str | None = None,
    *,
    security: HubSecurity | None = None,
    prediction_log: str = "",
    listener: socket.socket | None = None,
) -> None:
    """Serve the pages until SIGTERM or Ctrl-C; `on_ready` is called with their address.

    People who have the `key` can act on them; without one, nobody can. With `security` an access file says
    who may do what, and the pages may be served over TLS. `prediction_log` is the log that pages show, by
    default that of `lading log`. A `listener` that the caller has opened is used instead of another one.

    Raises `ExtraMissing` without the libraries of the extra `hub`, and `InvalidSetting` for an address that
    cannot be listened on.
    """
    try:
        import uvicorn

        from lading.hub.access import Access
        from lading.hub.app import make_app
        from lading.hub.security import opened_access, opened_tls
    except ModuleNotFoundError as error:
        raise missing_extra("`lading hub`", "hub", error) from error
    # The port before the registry: an address that is taken is said at once.
    listener = listener or listen(host, port)
    follower = Follower(registry)
    follower.start()
    opened = ExitStack()
    try:
        security = security or HubSecurity()
        tls = opened_tls(security, opened)
        access = opened_access(security, opened) or Access(key)
        is_local = host in _LOOPBACK or host == "::1"
        hosts = _LOOPBACK if is_local else frozenset()
        app = make_app(
            registry, follower, hosts, access, ending=lambda: server.should_exit, log=prediction_log
        )
        if access.has_key and not is_local and tls is None:
            log.warning("the key is typed over plain HTTP unless a proxy in front of %s takes TLS off", host)
        name = f"[{host}]" if ":" in host else host
        config = uvicorn.Config(app, **_uvicorn_settings(log_level))
        config.load()
        # After `load`, which takes names of files alone and would set it to None.
        config.ssl = tls
        server = uvicorn.Server(config)
        on_ready(f"{'https' if tls is not None else 'http'}://{name}:{listener.getsockname()[1]}/")
        server.run(sockets=[listener])
    finally:
        opened.close()
        follower.close()
        listener.close()


def _uvicorn_settings(log_level: str) -> dict[str, Any]:
    return {
        "log_config": None,
        # What uvicorn writes of itself is not what anybody wants to know at `info`.
        "log_level": "warning" if log_level == "info" else log_level,
        "access_log": False,
        "server_header": False,
        # Nothing here speaks WebSocket, and an import less at the start.
        "ws": "none",
        "timeout_graceful_shutdown": _END_S,
    }
