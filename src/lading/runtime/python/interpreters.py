"""Which Pythons this host has, by their minor version. Installs none."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from lading.errors import EnvironmentPythonMissing, UsageError
from lading.runtime.python.installers import find_uv

_OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
_MINORS = range(8, 31)
_PROBE = "import sys; print(sys.implementation.name, '%d.%d' % sys.version_info[:2])"


def find_interpreter(python: str) -> str:
    """Return the path of a CPython of the minor version `python`, such as ``3.11``.

    This process' own if it is that, else ``python3.11`` on the PATH, else one that uv knows. Raises
    `EnvironmentPythonMissing` that names those that the host has.
    """
    if not re.fullmatch(r"3\.[0-9]{1,2}", python):
        raise UsageError("Python of an environment", expected="a version such as `3.11`", found=f"`{python}`")
    if python == _OWN and sys.implementation.name == "cpython":
        return sys.executable
    for path in (shutil.which(f"python{python}"), _known_to_uv(python)):
        if path is not None and _version(path) == python:
            return path
    versions = sorted(_present(), key=lambda version: int(version.partition(".")[2]))
    raise EnvironmentPythonMissing(
        "environment",
        expected=f"Python {python}",
        found=f"Python {', '.join(versions)} on this host" if versions else "no Python on this host",
        hint=f"install Python {python} and put `python{python}` on the PATH, "
        "or pack the model under a version that is present here",
    )


def _present() -> set[str]:
    """Return the minor versions of CPython on this host; not those that only a shim pretends to have."""
    paths = [path for minor in _MINORS if (path := shutil.which(f"python3.{minor}"))]
    # At once, because a shim takes a second to say that it has none.
    with ThreadPoolExecutor() as pool:
        versions = {version for version in pool.map(_version, paths) if version}
    if sys.implementation.name == "cpython":
        versions.add(_OWN)
    return versions | _listed_by_uv()


def _version(path: str) -> str | None:
    """Return the minor version of the CPython at `path`, or None if it is none or does not run."""
    output = _output([path, "-I", "-c", _PROBE])
    name, _, version = output.strip().partition(" ")
    return version if name == "cpython" else None


def _known_to_uv(python: str) -> str | None:
    uv = find_uv()
    if uv is None:
        return None
    command = [uv, "python", "find", "--no-project", "--no-python-downloads", "--quiet", f"cpython@{python}"]
    return _output(command).strip() or None


def _listed_by_uv() -> set[str]:
    uv = find_uv()
    if uv is None:
        return set()
    text = _output([uv, "python", "list", "--only-installed", "--output-format", "json", "--quiet"])
    try:
        rows = json.loads(text or "[]")
    except ValueError:
        return set()  # Another version of uv: what is on the PATH is named all the same.
    return {
        ".".join(row["version"].split(".")[:2])
        for row in rows
        if row.get("implementation") == "cpython" and row["version"].startswith("3.")
    }


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, errors="replace", timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
