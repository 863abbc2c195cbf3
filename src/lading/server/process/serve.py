"""The life of a serving process: start-up, main loop, drain, end.

Listens at once and loads meanwhile, so that probes get an honest 503; answers 200 on `/health` only when
every wanted version has replayed its golden samples.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from math import ceil
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from lading.logs import set_up_logging, show_stacks
from lading.ref import Ref
from lading.runtime.host.allocator import keep_freed_memory
from lading.runtime.host.cpus import cpu_limit
from lading.server.exchange import Pipeline
from lading.server.http.app import App
from lading.server.http.asgi import AsgiHost
from lading.server.http.messages import Handler, Request, Response, Route
from lading.server.http.protocol import FastProtocol, fast_protocol
from lading.server.http.router import Router
from lading.server.inference.batcher import BatchLimits
from lading.server.inference.dataplane import DataPlane
from lading.server.loading.follower import Following
from lading.server.loading.manager import Manager, Wanted
from lading.server.loading.resolver import Resolver
from lading.server.metrics import Metrics, is_gauge
from lading.server.metrics.page import CONTENT_TYPE, FAMILIES, page
from lading.server.metrics.shared_memory import Cells, SharedCells
from lading.server.observe.observer import Observer
from lading.server.process.acceptor import Acceptor, Balance
from lading.server.process.background import BackgroundTask, BackgroundTasks
from lading.server.process.grpc_listener import GrpcListener
from lading.server.process.sockets import hold, listen
from lading.server.process.status import Place, Status, pattern_of, url
from lading.server.process.worker import WorkerContext, replica_id
from lading.server.protocols import feedback, invocations, mlflow, oip, vertex
from lading.server.protocols import native as book
from lading.server.protocols.oip.metrics import triton_families
from lading.server.protocols.tfs import rest as tfs
from lading.server.protocols.tfs.metrics import tfs_families
from lading.settings import ServeSettings

log = logging.getLogger("lading.server")

FAMILIES.update(triton=triton_families, tfs=tfs_families)


def serve(
    settings: ServeSettings,
    refs: Sequence[Ref | Path],
    registry_url: str | None = None,
    seat: WorkerContext | None = None,
    companions: Sequence[BackgroundTask] = (),
) -> int:
    """Serve the models named by `refs` until SIGTERM or SIGINT, then drain; return the exit code 0.

    Without `refs` it follows the releases of the registry. `companions` run beside it.

    One of several workers has a `seat`, and with it the addresses that they share. A `Path` is the
    directory of a bundle, a `Ref` a version in the registry. Raises `NotFound` or `UnavailableError` when a
    reference cannot be resolved, `InvalidSetting` when the port is taken.
    """
    worker = seat.number if seat is not None else 0
    set_up_logging(settings.log_level, worker)
    show_stacks()
    keep_freed_memory()
    replica = replica_id() if seat is None else seat.replica
    observer = Observer(f"{replica}-{worker}" if worker else replica)
    naming = Resolver(refs, registry_url, seat)
    wanted = naming.names()
    plane = make_plane(settings, _first_name(refs, wanted), observer)
    plane.worker = worker
    cells = _shared_cells(seat) if seat is not None else None
    manager = _manager(plane, settings, seat, cells)
    naming.load(wanted, manager, plane)
    app = make_app(plane, settings, cells)
    listener = listen(settings) if seat is None else seat.listener
    grpc = GrpcListener(app.pipeline, settings, hold(settings) if seat is None else seat.held)
    server = Server(uvicorn_config(app, settings), manager, grpc, settings, app.metrics, cells)
    following = None if refs else Following(registry_url, manager, plane, observer, settings)
    place = _place(settings, refs, seat, replica, listener, grpc.port)
    beside = BackgroundTasks(companions, Status(place, plane, app.metrics))
    manager.start()
    beside.start()
    if seat is None:
        host, port = listener.getsockname()[:2]
        log.info("listening on http://%s:%d (documentation: /docs)", host, port)
    else:
        seat.settle(manager.settled)
        seat.wait_for_turn()
    grpc.open()
    server.run(sockets=[listener])
    grpc.close(settings.drain_timeout_s)
    naming.stop()
    if following is not None:
        following.stop()
    beside.stop()
    plane.close()
    observer.stop()
    manager.close()
    log.info("drained; bye")
    return 0


def _manager(
    plane: DataPlane, settings: ServeSettings, seat: WorkerContext | None, cells: SharedCells | None
) -> Manager:
    return Manager(
        plane,
        threads=settings.threads or max(1, cpu_limit() // settings.workers),
        drain_timeout_s=settings.drain_timeout_s,
        replace=settings.swap == "replace",
        weights_in=seat.weights_in if seat is not None else None,
        opening=cells.opening if cells is not None else nullcontext,
    )


def _shared_cells(seat: WorkerContext) -> SharedCells:
    cells = SharedCells(seat.memory, seat.number)
    cells.clear(is_gauge)
    return cells


def _place(
    settings: ServeSettings,
    refs: Sequence[Ref | Path],
    seat: WorkerContext | None,
    replica: str,
    listener: socket.socket,
    grpc_port: int,
) -> Place:
    """Gather what does not change any more."""
    host, port = listener.getsockname()[:2]
    hostname = socket.gethostname()
    return Place(
        replica=replica,
        started_at=time.time() if seat is None else seat.started_at,
        address=url(host, port, hostname),
        grpc_address=url(host, grpc_port, hostname, "grpc") if grpc_port >= 0 else "",
        pattern=pattern_of(refs),
        settings=settings,
    )


def _first_name(refs: Sequence[Ref | Path], wanted: Sequence[Wanted] | None) -> str:
    """Return the model of the root routes; known by its reference before anything else is."""
    if wanted:
        return wanted[0].name
    return refs[0].name if refs and isinstance(refs[0], Ref) else ""


def make_plane(
    settings: ServeSettings, default_model: str = "", observer: Observer | None = None
) -> DataPlane:
    """Make the data plane with the limits that are set."""
    batch = BatchLimits(
        max_queue=settings.max_queue,
        max_rows=settings.max_batch_rows,
        latency_target_s=settings.latency_target_ms / 1000,
        max_delay_s=settings.max_queue_delay_ms / 1000,
    )
    name = settings.default_model or default_model
    return DataPlane(name, batch=batch, deadline_s=settings.deadline_s, observer=observer)


def make_app(plane: DataPlane, settings: ServeSettings, cells: Cells | None = None) -> App:
    """Put the protocols, the metrics and the limits together; workers count into `cells` that they share."""
    metrics = Metrics(plane, cells)
    routes = (
        *vertex.routes(settings),  # First: whoever sets a path means this path.
        *book.routes(),
        *feedback.routes(),
        *tfs.routes(),
        *oip.routes(metrics),
        *invocations.routes(),
        *mlflow.routes(),
        *_metrics_routes(metrics, settings.metrics_names),
    )
    router = Router(routes, book.refuse, beyond=tfs.beyond())
    return App(Pipeline(plane, metrics), router, settings.max_body_bytes)


def _pages(app: App) -> Any:
    from lading.server.process.openapi import documentation

    return documentation(app)


def uvicorn_config(app: App, settings: ServeSettings) -> uvicorn.Config:
    """Set uvicorn up for the application."""
    return uvicorn.Config(
        AsgiHost(app, _pages),
        http=fast_protocol(app),
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=ceil(settings.keep_alive_s),  # Whole seconds, as uvicorn has them.
        timeout_graceful_shutdown=int(settings.drain_timeout_s) + 1,
    )


class Server(uvicorn.Server):
    """uvicorn's server, which drains before it goes.

    On the first SIGTERM or SIGINT every version says that it is not ready, and answers on for
    ``drain_delay_s``, in which load balancers take the replica out; then the listener closes and what is
    in hand is finished. A second signal ends the wait.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        manager: Manager,
        grpc: GrpcListener,
        settings: ServeSettings,
        metrics: Metrics | None = None,
        balance: Balance | None = None,
    ) -> None:
        super().__init__(config)
        self._metrics = metrics
        self._balance = balance
        self._acceptor: Acceptor | None = None
        self._manager = manager
        self._grpc = grpc
        self._drain_delay_s = settings.drain_delay_s
        self._drain_timeout_s = settings.drain_timeout_s
        self._draining = False
        kind = config.http
        self._stage = kind.stage if isinstance(kind, type) and issubclass(kind, FastProtocol) else None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept: by uvicorn's own means, or through the acceptor where workers share the socket."""
        if self._balance is None or sockets is None:
            await super().startup(sockets)
            return
        await super().startup([])
        self._acceptor = Acceptor(sockets[0], self._make_protocol, self._balance, self.config.ssl)
        self._acceptor.open()
        self.servers.append(self._acceptor)  # type: ignore[arg-type]

    def _make_protocol(self) -> asyncio.Protocol:
        kind: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return kind(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    async def on_tick(self, counter: int) -> bool:
        """Look after the connections ten times a second; return whether to end."""
        now = asyncio.get_running_loop().time()
        if self._stage is not None:
            self._stage.tick(now)
        for connection in list(self.server_state.connections):
            if isinstance(connection, FastProtocol):
                connection.sweep(now)
        if self._metrics is not None:
            self._metrics.publish(len(self.server_state.connections))
        if self._acceptor is not None:
            self._acceptor.count(len(self.server_state.connections))
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to drain; called by the signal handler in the main thread."""
        if sig == signal.SIGINT and self._metrics is not None and self._metrics.worker:
            return  # Ctrl-C reaches the supervisor as well, and it asks by SIGTERM.
        # The signal is not put into uvicorn's list of captured ones: it would be raised again at the end,
        # and the process would not exit with 0.
        if self._draining:
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT
            return
        self._draining = True
        threading.Thread(target=self._drain, name="drain", daemon=True).start()

    def _drain(self) -> None:
        log.info("draining: not ready any more, serving on for %g s", self._drain_delay_s)
        self._manager.drain("the server is stopping")
        timer = threading.Timer(self._drain_delay_s, self._close)
        timer.daemon = True
        timer.start()

    def _close(self) -> None:
        self.should_exit = True
        self._grpc.close(self._drain_timeout_s)


def _metrics_routes(metrics: Metrics, names: str) -> Iterator[Route]:
    def page_of(names: str) -> Handler:
        def answer(_request: Request, _plane: DataPlane) -> Response:
            metrics.publish()
            return Response(page(metrics.summary(), names), content_type=CONTENT_TYPE)

        return answer

    summary = "Counts for Prometheus"
    yield Route("GET", "/metrics", page_of(names), book.refuse, "metrics", summary)
    # Where TensorFlow Serving has them; whoever asks there wants its names.
    summary = "Counts for Prometheus by TensorFlow Serving's names"
    yield Route("GET", "/monitoring/prometheus/metrics", page_of("tfs"), book.refuse, "metrics", summary)
