"""The life of a serving process: start, run, drain.

Listens immediately and loads meanwhile, so that probes get an honest 503; `/health` answers 200 only when
every wanted version has replayed its golden samples.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path

from lading.errors import UnavailableError
from lading.logs import set_up_logging, show_stacks
from lading.onnx_runtime import limit_memory
from lading.ref import Ref
from lading.runtime.host.allocator import keep_freed_memory
from lading.runtime.host.cpus import cpu_limit
from lading.runtime.host.descriptors import check_descriptors
from lading.runtime.host.memory import memory_limit
from lading.runtime.python.host import host_of
from lading.server.http.app import App
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.request_memory import RequestMemory
from lading.server.jobs.service import JobService, job_service
from lading.server.loading.follower import following
from lading.server.loading.manager import Manager
from lading.server.loading.policy import Wanted, load_first, unload_first
from lading.server.loading.proving import Prover
from lading.server.loading.resolver import Resolver
from lading.server.loading.trust import LoadGate, load_gate
from lading.server.loading.trust_watch import watching
from lading.server.metrics import is_gauge
from lading.server.metrics.shared_memory import CounterStore, PrivateCounters, SharedCounters
from lading.server.observe.observer import Observer
from lading.server.observe.recorder import Recorder
from lading.server.process.background import BackgroundTask, BackgroundTasks
from lading.server.process.compose import make_app, make_plane
from lading.server.process.grpc_listener import GrpcListener
from lading.server.process.http_server import HttpServer, uvicorn_config
from lading.server.process.kept_process import KeptRunning, watched
from lading.server.process.observed_rows import observed_rows
from lading.server.process.request_observers import request_observers
from lading.server.process.security import access_gate, server_tls
from lading.server.process.sockets import address_of, listen, reserve_grpc_port, rest_scheme, tcp_host
from lading.server.process.status import ServerInfo, Status, pattern_of, url
from lading.server.process.supervisor import DRAINING, not_ignored
from lading.server.process.watchdog import Watchdog
from lading.server.process.worker import WorkerContext, replica_id
from lading.settings import ServeSettings, proofs_folder

log = logging.getLogger("lading.server")

_WORKER_BYTES = 160 * 2**20
"""What a worker takes before it has a model, with the process that reads its large bodies."""


def serve(
    settings: ServeSettings,
    refs: Sequence[Ref | Path],
    registry_url: str | None = None,
    worker: WorkerContext | None = None,
    background_tasks: Sequence[BackgroundTask] = (),
    programs: Sequence[KeptRunning] = (),
) -> int:
    """Serve the models named by `refs` until SIGTERM or SIGINT, then drain; return the exit code 0.

    A `Path` is the directory of a bundle, a `Ref` a version in the registry. Without `refs` the server
    follows the releases of the registry. `background_tasks` run beside it, and so do the `programs`. One of
    several workers has a `worker` context, and with it the addresses that all of them share. Raises
    `NotFound` or `UnavailableError` if a reference cannot be resolved, `InvalidSetting` if a port is taken.
    """
    number = worker.number if worker is not None else 0
    _set_up_process(settings, number)
    replica = worker.replica if worker is not None else replica_id()
    counters = _shared_counters(worker) if worker is not None else None
    # What was started last ends first, whether the server drains or a later step fails.
    with _starting(), ExitStack() as started:
        access, tls = access_gate(settings, worker, started), server_tls(settings, started)
        observer = started.enter_context(closing(Observer(f"{replica}-{number}" if number else replica)))
        # Before the rest: a reference that names nothing fails the start within milliseconds.
        resolver = started.enter_context(closing(Resolver(refs, registry_url, worker)))
        wanted = resolver.resolve()
        plane = started.enter_context(closing(_plane(settings, refs, wanted, observer)))
        gate = _trust(plane, settings, number)
        manager = started.enter_context(closing(_manager(plane, settings, worker, counters, gate)))
        resolver.load(wanted, manager, plane)
        store: CounterStore = counters or PrivateCounters(os.getpid())
        observing = observed_rows(settings, plane, registry_url, worker, observer.replica, store)
        rows = started.enter_context(observing)
        observers = (*rows.observers, *request_observers(plane, settings, replica, started, store))
        jobs = started.enter_context(job_service(settings, registry_url))
        app = make_app(plane, settings, store, observers, rows.checks, jobs, access)
        rows.start(app.metrics)
        listener, grpc_socket = _sockets(settings, worker, started)
        grpc = GrpcListener(app.pipeline, settings, grpc_socket, tls)
        beside = (app.metrics, counters, rows.recorder)
        server = HttpServer(uvicorn_config(app, settings), manager, grpc, settings, *beside)
        started.enter_context(_watched(plane, settings, server))
        if not refs:
            started.enter_context(following(registry_url, manager, plane, observer, keep=settings.keep))
        started.enter_context(_draining_on_signals(server, worker))
        # Only now: a manager that wants nothing yet would report that everything has settled.
        manager.start()
        started.enter_context(watching(gate, manager))
        info = _server_info(settings, refs, replica, worker, listener, grpc.port)
        _run_jobs(jobs, app, observer.replica, server, started)
        status = Status(info, plane, app.metrics, rows.columns, gate)
        _start_tasks(background_tasks, status, rows.recorder, started)
        _wait_to_listen(settings, worker, manager, listener)
        _keep_running(programs, started)
        # Last, and therefore the first to end: its answers must be counted before the follower's last report.
        grpc.open()
        started.callback(grpc.close, settings.drain_timeout_s)
        server.run(sockets=[listener])
    log.info("drained; bye")
    return 0


def _trust(plane: DataPlane, settings: ServeSettings, number: int) -> LoadGate | None:
    """Return what lets bundles in, and have the plane state it."""
    plane.worker = number
    gate = load_gate(settings.trust_policy, speaks=number <= 1)
    plane.trust = gate.facts if gate is not None else None
    return gate


def _set_up_process(settings: ServeSettings, number: int) -> None:
    set_up_logging(settings.log_level, number, settings.log_format)
    show_stacks()
    keep_freed_memory()


def _start_tasks(
    tasks: Sequence[BackgroundTask], status: Status, recorder: Recorder, started: ExitStack
) -> None:
    running = BackgroundTasks(tasks, status)
    running.start()
    started.callback(running.stop)
    started.callback(recorder.flush)  # Before the tasks end: they deliver what it shows.


def _run_jobs(
    jobs: JobService | None, app: App, replica: str, server: HttpServer, started: ExitStack
) -> None:
    if jobs is not None:
        # Ends after the loop, and before what is loaded: what is under way then is given back.
        running = jobs.running(app, replica, lambda: app.metrics.is_first)
        server.inner = started.enter_context(running)


def _keep_running(programs: Sequence[KeptRunning], started: ExitStack) -> None:
    # A supervisor keeps them for its workers, which are passed none.
    for program in programs:
        started.enter_context(watched(program))


def _wait_to_listen(
    settings: ServeSettings, worker: WorkerContext | None, manager: Manager, listener: socket.socket
) -> None:
    """Wait for the turn of this worker, if it is one of several; else say where the server listens."""
    if worker is not None:
        worker.report_settled(manager.settled)
        worker.wait_for_turn()
    else:
        log.info("listening on %s (documentation: /docs)", address_of(listener, rest_scheme(settings)))


@contextmanager
def _starting() -> Iterator[None]:
    """Raise `UnavailableError` if this process may have too few descriptors or threads to serve."""
    check_descriptors()
    try:
        yield
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        raise UnavailableError(
            "the start of the server",
            expected="one more thread",
            found="that no more may be started",
            hint="raise `ulimit -u`, or `pids.max` of the container",
        ) from None


@contextmanager
def _watched(plane: DataPlane, settings: ServeSettings, server: HttpServer) -> Iterator[None]:
    """Have a thread end runs that do not end."""
    watchdog = Watchdog(plane, settings.deadline_s, lambda: server.ticked_at)
    watchdog.start()
    with closing(watchdog):
        yield


@contextmanager
def _draining_on_signals(server: HttpServer, worker: WorkerContext | None) -> Iterator[None]:
    """Have the signals that end a process drain the server from the first load on, before uvicorn runs.

    A worker's come from its supervisor.
    """
    kinds = (signal.SIGTERM, signal.SIGINT, *not_ignored(DRAINING)) if worker is None else ()
    before = {kind: signal.signal(kind, server.handle_exit) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _default_model(refs: Sequence[Ref | Path], wanted: Sequence[Wanted] | None) -> str:
    """Return the model of the root routes; a reference names it even before it could be resolved."""
    if wanted:
        return wanted[0].name
    return refs[0].name if refs and isinstance(refs[0], Ref) else ""


def _manager(
    plane: DataPlane,
    settings: ServeSettings,
    worker: WorkerContext | None,
    counters: SharedCounters | None,
    gate: LoadGate | None,
) -> Manager:
    count_opening = counters.opening if counters is not None else nullcontext
    most_bytes = model_memory_bytes(settings, memory_limit())

    @contextmanager
    def opening() -> Iterator[None]:
        # Here and not at the start: importing ONNX Runtime would delay the first answer to a probe.
        limit_memory(most_bytes)
        with count_opening():
            yield

    threads = settings.threads or max(1, cpu_limit() // settings.workers)
    python = host_of(settings)
    prover = Prover(proofs_folder(), timeout_s=settings.load_timeout_s, threads=threads, python=python)
    manager = Manager(
        plane,
        threads=threads,
        drain_timeout_s=settings.drain_timeout_s,
        policy=unload_first if settings.swap == "replace" else load_first,
        weights_folder=worker.weights_folder if worker is not None else None,
        opening=opening,
        prover=prover if settings.isolate == "on" else None,
        python=python,
        gate=gate,
    )
    if worker is not None:
        worker.on_crash(manager.take_out)
    return manager


def _plane(
    settings: ServeSettings,
    refs: Sequence[Ref | Path],
    wanted: Sequence[Wanted] | None,
    observer: Observer,
) -> DataPlane:
    memory = RequestMemory(request_memory_bytes(settings, memory_limit()))
    return make_plane(settings, _default_model(refs, wanted), observer, memory)


def request_memory_bytes(settings: ServeSettings, limit_bytes: int) -> int:
    """Return what requests may take in this process, of the `limit_bytes` that all workers have together.

    With what models may take, and with the libraries of a worker, it is all that there is. 0 if nothing is
    known.
    """
    if settings.request_memory_mb:
        return settings.request_memory_mb * 1_000_000
    return _shared_bytes(settings, limit_bytes) * 3 // 8


def model_memory_bytes(settings: ServeSettings, limit_bytes: int) -> int:
    """Return what models may take in this process, of the `limit_bytes` that all workers have together.

    The rest is for requests and their answers, and for the libraries of a worker. 0 if nothing is known.
    """
    if settings.model_memory_mb:
        return settings.model_memory_mb * 1_000_000
    return _shared_bytes(settings, limit_bytes) * 5 // 8


def _shared_bytes(settings: ServeSettings, limit_bytes: int) -> int:
    """Return what a worker has besides itself; a quarter of its share where that is less than it takes."""
    share = limit_bytes // settings.workers
    return max(share - _WORKER_BYTES, share // 4)


def _shared_counters(worker: WorkerContext) -> SharedCounters:
    counters = SharedCounters(worker.memory, worker.number)
    # What a killed predecessor counted stays; what it held (versions, memory, connections) is gone.
    counters.clear(is_gauge)
    return counters


def _sockets(
    settings: ServeSettings, worker: WorkerContext | None, started: ExitStack
) -> tuple[socket.socket, socket.socket | None]:
    """Return the listening socket of REST and the socket that reserves gRPC's port, if there is one."""
    if worker is not None:
        return worker.listener, worker.grpc_socket
    listener = started.enter_context(listen(settings))
    grpc_socket = reserve_grpc_port(settings)
    if grpc_socket is not None:
        started.enter_context(grpc_socket)
    return listener, grpc_socket


def _server_info(
    settings: ServeSettings,
    refs: Sequence[Ref | Path],
    replica: str,
    worker: WorkerContext | None,
    listener: socket.socket,
    grpc_port: int,
) -> ServerInfo:
    hostname = socket.gethostname()
    if listener.family == socket.AF_UNIX:
        host, address = tcp_host(settings.host), address_of(listener, rest_scheme(settings))
    else:
        host, port = listener.getsockname()[:2]
        address = url(host, port, hostname, rest_scheme(settings))
    return ServerInfo(
        replica=replica,
        started_at=worker.started_at if worker is not None else time.time(),
        address=address,
        grpc_address=url(host, grpc_port, hostname, "grpcs" if settings.tls_cert else "grpc")
        if grpc_port >= 0
        else "",
        pattern=pattern_of(refs),
        settings=settings,
    )
