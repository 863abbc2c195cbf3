"""uvicorn's server as lading runs it: balanced connections, deadlines of connections, drain before the end.

Parsing, keep-alive and the shutdown of connections stay uvicorn's. Its undocumented parts that are used here
and in `http.protocol` are listed in a test, which fails if a release of uvicorn no longer has one.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable
from math import ceil
from types import FrameType

import uvicorn

from lading.server.http.app import App
from lading.server.http.asgi import AsgiHost
from lading.server.http.protocol import FastProtocol, fast_protocol
from lading.server.http.slow_clients import ClientLimits
from lading.server.jobs.inner import InnerRequests
from lading.server.loading.manager import Manager
from lading.server.metrics import Metrics
from lading.server.observe.recorder import Recorder
from lading.server.process.acceptor import Acceptor, Alone, Balance
from lading.server.process.compose import documentation_pages
from lading.server.process.grpc_listener import GrpcListener
from lading.settings import ServeSettings

log = logging.getLogger("lading.server")


def uvicorn_config(app: App, settings: ServeSettings) -> uvicorn.Config:
    """Return uvicorn's configuration: fast routes in the protocol class, all others under ASGI."""
    return uvicorn.Config(
        AsgiHost(app, documentation_pages),
        http=fast_protocol(app, ClientLimits.of(settings)),
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # Browsers must not take an answer that echoes a client's text for a page or a script.
        headers=[("x-content-type-options", "nosniff")],
        timeout_keep_alive=ceil(settings.keep_alive_s),  # uvicorn takes whole seconds.
        timeout_graceful_shutdown=int(settings.drain_timeout_s) + 1,
    )


class HttpServer(uvicorn.Server):
    """A uvicorn server that drains before it ends.

    On the first SIGTERM or SIGINT every version becomes not ready but still answers for ``drain_delay_s``, in
    which load balancers take the replica out. Then the listener closes and requests in flight are finished.
    A second signal ends the delay.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        manager: Manager,
        grpc: GrpcListener,
        settings: ServeSettings,
        metrics: Metrics | None = None,
        balance: Balance | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        super().__init__(config)
        self._recorder = recorder
        self._metrics = metrics
        self._balance = balance
        # One certificate for both protocols.
        self.tls = grpc.tls
        self._acceptor: Acceptor | None = None
        self._manager = manager
        self._grpc = grpc
        self._drain_delay_s = settings.drain_delay_s
        self._drain_timeout_s = settings.drain_timeout_s
        self._draining = False
        self._is_frozen = False
        self.inner: InnerRequests | None = None  # What has to know the loop, once it runs.
        self.ticked_at = 0.0  # 0 while the event loop does not turn
        kind = config.http
        self._stage = kind.stage if isinstance(kind, type) and issubclass(kind, FastProtocol) else None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept: through uvicorn, or our acceptor with TLS or if workers share the socket."""
        if self.inner is not None:
            self.inner.attach(asyncio.get_running_loop())
        # uvicorn's own way to accept keeps one TLS context for good; ours takes the present one.
        balance = self._balance or (Alone() if self.tls is not None else None)
        if balance is None or sockets is None:
            await super().startup(sockets)
            return
        await super().startup([])
        encryption = self.tls.context if self.tls is not None else None
        self._acceptor = Acceptor(sockets[0], self._make_protocol, balance, encryption)
        self._acceptor.open()
        # uvicorn closes its `servers` first thing when it shuts down; ours has the same two methods.
        self.servers.append(self._acceptor)  # type: ignore[arg-type]

    async def on_tick(self, counter: int) -> bool:
        """Check deadlines and publish counts, ten times a second; return whether to end."""
        self.ticked_at = time.monotonic()
        now = asyncio.get_running_loop().time()
        connections = self.server_state.connections
        if self._stage is not None:
            self._stage.tick(now)
        for connection in list(connections):
            if isinstance(connection, FastProtocol):
                connection.sweep(now)
        if self._metrics is not None:
            self._metrics.publish(len(connections))
        if self._recorder is not None:
            self._recorder.flush()
        if self._acceptor is not None:
            self._acceptor.count(len(connections))
        if not self._is_frozen and self._manager.settled.is_set() and not self._grpc.is_starting:
            self._freeze()
        ends = await super().on_tick(counter)
        if ends:
            self.ticked_at = 0.0
        return ends

    def _freeze(self) -> None:
        """Keep what has been imported and loaded out of all later collections of garbage.

        A full one stops every thread, and would take 50 ms for the modules alone. What is frozen is still
        freed with its last reference.
        """
        self._is_frozen = True
        gc.collect(1)
        gc.freeze()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to drain; uvicorn's signal handler calls this in the main thread."""
        if sig == signal.SIGINT and self._metrics is not None and self._metrics.worker:
            return  # Ctrl-C reaches the supervisor as well, which passes it on as SIGTERM.
        # uvicorn's own method would list the signal as captured and raise it again at the end, and the
        # process would not exit with 0.
        if self._draining:
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT
            return
        self._draining = True
        # In a thread, because a signal handler must not wait for the manager's lock.
        threading.Thread(target=self._drain, name="drain", daemon=True).start()

    def _make_protocol(self) -> asyncio.Protocol:
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def _drain(self) -> None:
        log.info("draining: not ready any more, still serving for %g s", self._drain_delay_s)
        self._manager.drain("the server is stopping")
        timer = threading.Timer(self._drain_delay_s, self._close)
        timer.daemon = True
        timer.start()

    def _close(self) -> None:
        self.should_exit = True
        self._grpc.close(self._drain_timeout_s)
