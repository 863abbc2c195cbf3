"""The hub beside a server: a process of the server's command, on a socket that the command listens on.

``python -m lading.hub.beside`` is that process. It ends with the server: by SIGTERM, or when the pipe that is
its standard input ends. The socket is the command's, so that a connection made while the hub is started again
waits, and is not refused.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import signal
import socket
import sys
import threading

from lading.errors import LadingError, missing_extra, one_line
from lading.hub.key import read_key
from lading.hub.listening import HubSecurity
from lading.hub.serve import serve
from lading.logs import set_up_logging
from lading.registry import Registry
from lading.settings import registry_url

log = logging.getLogger("lading.hub")

_LIBRARIES = ("itsdangerous", "jinja2", "starlette", "uvicorn")
_NICE = 5
"""Pages wait for predictions, and not the other way round."""


def check_libraries() -> None:
    """Raise `ExtraMissing` without the libraries of the extra `hub`; imports none of them."""
    for name in _LIBRARIES:
        if importlib.util.find_spec(name) is None:
            raise missing_extra("`lading serve --hub`", "hub", ModuleNotFoundError(name=name))


def command(
    listener: socket.socket, host: str, log_level: str, log_format: str, security: HubSecurity
) -> list[str]:
    """Return the command of the process; the registry is in its environment, the `listener` passed to it."""
    words = [str(listener.fileno()), host, "--log-level", log_level, "--log-format", log_format]
    for name in ("access", "tls_cert", "tls_key"):
        words += [f"--{name.replace('_', '-')}", getattr(security, name)]
    return [sys.executable, "-m", "lading.hub.beside", *words]


def main() -> int:
    """Serve the pages until the server ends; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("descriptor", type=int)
    parser.add_argument("host")
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--log-format", default="text")
    for name in ("--access", "--tls-cert", "--tls-key"):
        parser.add_argument(name, default="")
    options = parser.parse_args()
    os.nice(_NICE)
    set_up_logging(options.log_level, log_format=options.log_format)
    threading.Thread(target=_end_with_server, name="end with the server", daemon=True).start()
    listener = socket.socket(fileno=options.descriptor)
    try:
        security = HubSecurity(options.access, options.tls_cert, options.tls_key)
        key = read_key(None) if not security.access else None
        # The catalog may be unreachable now: pages say so, and it is connected to with the next reading.
        with Registry.open(registry_url(), at_once=False) as registry:
            port = listener.getsockname()[1]
            level = options.log_level
            serve(registry, options.host, port, level, _say_where, key, security=security, listener=listener)
    except LadingError as error:
        log.error("the hub cannot be served: %s", one_line(error))  # noqa: TRY400
        return 1
    return 0


def _say_where(url: str) -> None:
    log.info("the hub is at %s", url)


def _end_with_server() -> None:
    """Wait until the server has ended, however it did, and end as if it had said so."""
    # By its descriptor: a lock of `sys.stdin` that a daemon thread holds aborts the end of the interpreter.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
