"""How many file descriptors this process may open: for connections, and at all."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

from lading.errors import UnavailableError

LEAST = 32
"""A server without a connection takes 20; without them grpcio and the event loop end the process."""

_OTHERS = 128
"""Descriptors for what is no client's connection: models, catalog, logs, pipes."""

_LEAST_CONNECTIONS = 16

_OPEN = Path("/proc/self/fd")


def check_descriptors() -> None:
    """Raise `UnavailableError` unless `LEAST` more descriptors may be opened."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY or not _OPEN.is_dir():
        return
    left = limit - sum(1 for _ in _OPEN.iterdir())
    if left < LEAST:
        raise UnavailableError(
            "file descriptors",
            expected=f"at least {LEAST} to serve with, and one for each connection",
            found=f"{max(0, left)} left of {limit}",
            hint="raise `ulimit -n`",
        )


def is_exhausted(error: OSError) -> bool:
    """Return whether a call failed because no more descriptors may be opened now."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


def connection_budget() -> int:
    """Return how many connections REST may have, and gRPC as many again."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        most = 2**20
    return max(_LEAST_CONNECTIONS, (most - _OTHERS) // 2)
