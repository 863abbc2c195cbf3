"""A terminal that a command writes to."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable


def on_a_terminal(
    *arguments: str, once_shown: tuple[str, Callable[[], object]] | None = None, **environ: str
) -> str:
    """Run a command on a terminal of its own until it exits; return everything that it showed.

    `once_shown` is a text and what to do, once, as soon as the terminal shows it.
    """
    host, terminal = pty.openpty()
    settings = {**os.environ, "TERM": "xterm", "COLUMNS": "100", **environ}
    process = subprocess.Popen(
        [sys.executable, "-m", "lading", *arguments], stdout=terminal, stderr=terminal, env=settings
    )
    os.close(terminal)
    output = b""
    while chunk := _read(host):
        output += chunk
        if once_shown is not None and once_shown[0] in output.decode(errors="ignore"):
            once_shown[1]()
            once_shown = None
    process.wait(60)
    os.close(host)
    assert process.returncode >= 0, f"ended with signal {-process.returncode} after {output!r}"
    return output.decode()


def _read(host: int) -> bytes:
    try:
        return os.read(host, 65536)
    except OSError:  # How Linux reports that the other end is closed.
        return b""
