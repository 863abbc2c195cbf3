"""A terminal that a command writes to."""

from __future__ import annotations

import os
import pty
import subprocess
import sys


def on_a_terminal(*arguments, **environ):
    """Run a command on a terminal of its own; return what it shows."""
    host, terminal = pty.openpty()
    settings = {**os.environ, "TERM": "xterm", "COLUMNS": "100", **environ}
    done = subprocess.Popen(
        [sys.executable, "-m", "lading", *arguments], stdout=terminal, stderr=terminal, env=settings
    )
    done.wait(60)
    os.close(terminal)
    output = b""
    while True:
        try:
            chunk = os.read(host, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not chunk:
            break
        output += chunk
    os.close(host)
    return output.decode()
