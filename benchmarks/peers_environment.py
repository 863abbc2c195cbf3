"""Environments of the peers: one for each benchmarks/peers/<name>.txt, under .venv-peers/<name>.

They are made again only where the list has changed, and hold nothing of lading.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LISTS = Path(__file__).parent / "peers"
# These share an environment.
_LIST_OF = {"mlserver-sklearn": "mlserver"}
CACHE = Path(__file__).parent.parent / ".venv-peers"
# What an interpreter must satisfy for a peer. The Python backend of Triton has an older Python linked in: it
# lacks a method that the standard library of 3.11.6 and later calls, and cannot start with that one.
_MUST = {
    "triton": "import inspect, multiprocessing.resource_tracker as one; "
    "assert '_recursion_count' not in inspect.getsource(one); import ensurepip, venv"
}


def made(name: str) -> str:
    """Make the environment of a peer; return the reason in one line if that cannot be done here."""
    name = _LIST_OF.get(name, name)
    wanted, env = LISTS / f"{name}.txt", CACHE / name
    done = env / ".installed"
    if done.is_file() and done.read_text() == wanted.read_text():
        return ""
    shutil.rmtree(env, ignore_errors=True)
    python = next((path for path in _interpreters() if _fits(path, _MUST.get(name, ""))), "")
    if not python:
        return "no Python here is one that it can start with"
    pip = [program(name, "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([python, "-m", "venv", str(env)], [*pip, "--requirement", str(wanted)]):
        try:
            ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
        except subprocess.TimeoutExpired:
            return "it took more than 15 minutes"
        if ended.returncode:
            return _reason(ended.stderr or ended.stdout)
    done.write_text(wanted.read_text())
    return ""


def program(name: str, what: str) -> str:
    """Return the path of a program in the environment of a peer."""
    return str(CACHE / _LIST_OF.get(name, name) / "bin" / what)


def versions(name: str) -> str:
    """Say what was installed: Python and the packages that the list names, with their versions."""
    lines = (LISTS / f"{_LIST_OF.get(name, name)}.txt").read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    script = (
        "import sys; from importlib.metadata import version; "
        "print(sys.version.split()[0], *map(version, sys.argv[1:]))"
    )
    listed = subprocess.run(
        [program(name, "python"), "-c", script, *packages], capture_output=True, text=True, check=True
    )
    return ", ".join(
        f"{package} {number}"
        for package, number in zip(["Python", *packages], listed.stdout.split(), strict=True)
    )


def _interpreters() -> Iterator[str]:
    """Return the Pythons to try: our own, then those of the same version on the path."""
    yield sys.executable
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if (Path(folder) / minor).is_file():
            yield str(Path(folder) / minor)


def _fits(python: str, must: str) -> bool:
    return subprocess.run([python, "-c", must], capture_output=True, check=False).returncode == 0


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["it said nothing"])[-1]
