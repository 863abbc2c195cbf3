"""A real ``lading hub`` in a process of its own, for tests: on a free port, ended by SIGTERM."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from support.waiting import wait_until

_ADDRESS = re.compile(r"the hub is at (https?://[\w.:]+)/")


@contextlib.contextmanager
def running_hub(environ: dict[str, str], log: Path, *flags: str) -> Iterator[str]:
    """Run ``lading hub`` until the block ends; yield its address. It writes its log to `log`."""
    command = [sys.executable, "-m", "lading", "hub", "--port", "0", *flags]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environ)

    def address() -> str:
        match = _ADDRESS.search(text := log.read_text("utf-8"))
        assert match or process.poll() is None, f"the hub ended:\n{text}"
        return match.group(1) if match else ""

    try:
        yield wait_until(address, 60, lambda: log.read_text("utf-8"))
        process.send_signal(signal.SIGTERM)
        # uvicorn drains, and then ends by the signal itself.
        assert process.wait(30) in (0, -signal.SIGTERM), log.read_text("utf-8")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
