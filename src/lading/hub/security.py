"""Access control and TLS of the hub, by the same files as those of servers; both follow their files."""

from __future__ import annotations

import logging
import ssl
import time
from contextlib import ExitStack, closing
from typing import Any

from lading.access.file import AccessFile
from lading.access.gate import Gate
from lading.access.libraries import check_libraries
from lading.access.tls import Tls, tls_files
from lading.access.watch import FileWatch
from lading.hub.access.by_file import FileAccess
from lading.hub.listening import HubSecurity

log = logging.getLogger("lading.hub")


def opened_access(security: HubSecurity, opened: ExitStack) -> FileAccess | None:
    """Return who may do what by the access file, until `opened` ends; None without one.

    Raises `InvalidSetting`, `ExtraMissing`.
    """
    if not security.access:
        return None
    file = AccessFile.read(security.access)
    check_libraries(file)
    gate = opened.enter_context(closing(Gate(file)))

    def reload() -> None:
        # What it raises is logged by the watch, and the callers of the last good file stay.
        gate.replace(AccessFile.read(security.access))
        gate.audit.note("access file read", path=security.access)

    opened.enter_context(closing(FileWatch([security.access], reload)))
    return FileAccess(gate)


def opened_tls(security: HubSecurity, opened: ExitStack) -> ssl.SSLContext | None:
    """Return the TLS of the pages, until `opened` ends; None without files. Raises `InvalidSetting`."""
    files = tls_files(security.tls_cert, security.tls_key)
    if files is None:
        return None
    tls = opened.enter_context(closing(Tls(files, time.time)))
    context = tls.context()

    def present(connection: Any, _name: str | None, _context: ssl.SSLContext) -> None:
        # Called for each new connection: uvicorn keeps one context, and here the present one replaces it.
        connection.context = tls.context()

    context.sni_callback = present
    return context
