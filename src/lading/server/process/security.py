"""Access control and TLS of a serving process, as its settings ask for them; both follow their files."""

from __future__ import annotations

import ipaddress
import logging
import time
from contextlib import ExitStack, closing

from lading.access.file import AccessFile
from lading.access.gate import Gate
from lading.access.libraries import check_libraries
from lading.access.limits import Limits
from lading.access.tls import Tls, check_tls, tls_files
from lading.access.watch import FileWatch
from lading.server.process.worker import WorkerContext
from lading.settings import ServeSettings

log = logging.getLogger("lading.server")


def check_security(settings: ServeSettings) -> None:
    """Raise `InvalidSetting` for files that cannot be used, `ExtraMissing` for a library that they need.

    For the process that starts workers: what fails in a worker would be tried again and again.
    """
    if settings.access:
        check_libraries(AccessFile.read(settings.access))
    files = tls_files(settings.tls_cert, settings.tls_key, settings.tls_client_ca, settings.tls_clients)
    if files is not None:
        check_tls(files, time.time())


def access_gate(settings: ServeSettings, worker: WorkerContext | None, started: ExitStack) -> Gate | None:
    """Return the gate of the access file, which follows it until `started` ends; None without a file.

    Says once, loudly, that everybody may ask who reaches the server, where that is more than this machine.
    Raises what `check_security` raises.
    """
    is_first = worker is None or worker.number == 1
    if is_first:
        _warn(settings)
    if not settings.access:
        return None
    file = AccessFile.read(settings.access)
    check_libraries(file)
    gate = Gate(file, Limits(worker.memory.limits if worker is not None else None))
    started.enter_context(closing(gate))

    def reload() -> None:
        fresh = AccessFile.read(settings.access)
        gate.replace(fresh)
        watch.watch(_paths(settings, fresh))
        if is_first:
            gate.audit.note("access file read", path=settings.access, callers=fresh.count)

    watch = started.enter_context(closing(FileWatch(_paths(settings, file), reload)))
    if is_first:
        gate.audit.note("access file read", path=settings.access, callers=file.count)
    return gate


def _paths(settings: ServeSettings, file: AccessFile) -> list[str]:
    return [settings.access, *(issuer.jwks_file for issuer in file.issuers if issuer.jwks_file)]


def server_tls(settings: ServeSettings, started: ExitStack) -> Tls | None:
    """Return the TLS of the server, which follows its files until `started` ends; None without any."""
    files = tls_files(settings.tls_cert, settings.tls_key, settings.tls_client_ca, settings.tls_clients)
    if files is None:
        return None
    return started.enter_context(closing(Tls(files, time.time)))


def _warn(settings: ServeSettings) -> None:
    if is_this_machine(settings.host):
        return
    if not settings.access:
        log.warning(
            "ACCESS CONTROL IS OFF, and %s is reached from other machines: everybody who reaches this port "
            "may read and predict. `--access FILE` names who may",
            settings.host,
        )
    elif not settings.tls_cert:
        log.warning("keys and tokens come over plain HTTP unless a proxy in front of this server ends TLS")


def is_this_machine(host: str) -> bool:
    """Return whether an address to listen on is reached from this machine alone."""
    if host.startswith("unix:") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
