"""The connection to a Ray cluster. Starts none, and leaves one that the calling program made as it is."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import ray

from lading.errors import InvalidSetting, ServerUnavailable, one_line

_CONNECT_S = 10.0


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be connected within to the cluster at `address`, else at ``RAY_ADDRESS``, else that of this machine.

    A connection of the calling program is used, and left to it. Raises `ServerUnavailable`, `InvalidSetting`.
    """
    if ray.is_initialized():
        yield
        return
    at = address or os.environ.get("RAY_ADDRESS") or "auto"
    try:
        if at != "auto":
            _reach(at)
        ray.init(at, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        where = "the Ray cluster of this machine" if at == "auto" else f"the Ray cluster at `{at}`"
        hint = "start one with `ray start --head`, or name another with `--ray-address` or `RAY_ADDRESS`"
        reason = one_line(error)
        raise ServerUnavailable(where, expected="one that answers", found=reason, hint=hint) from error
    # Ray prints how its processes end, also while it shuts down, to where commands write their data.
    with redirect_stdout(sys.stderr):
        try:
            yield
        finally:
            ray.shutdown()


def _reach(address: str) -> None:
    """Raise `OSError` if nothing listens at an address: Ray would wait for minutes, and say nothing."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        raise InvalidSetting("`--ray-address`", expected="`HOST:PORT` or `auto`", found=f"`{address}`")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
