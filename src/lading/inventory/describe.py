"""What a server runs on and what it serves, as a `Replica`. Tells nobody; `beat` does.

What stays (machine, limits, packages) is read once; the models are read each time, from what the server
counts anyway. No secret is in it: the settings of a server have none, and of its environment nothing is told.
"""

from __future__ import annotations

import platform
import re
import socket
import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import msgspec

import lading
from lading.clock import iso_time
from lading.onnx_runtime import import_onnxruntime
from lading.replica import Replica
from lading.runtime.host.cpus import cpu_limit
from lading.runtime.host.fingerprint import fingerprint
from lading.runtime.host.memory import memory_limit
from lading.server.process.status import Status
from lading.settings import ServeSettings

_INSTALLED = re.compile(r"(?P<name>.+?)-(?P<version>\d[^-]*)(?:-py[\d.]+)?\.(?:dist|egg)-info")


def describe(status: Status, before: Replica | None = None) -> Replica:
    """Collect what the server of `status` says of itself; what stays is taken from `before` if there is one.

    Raises `ExtraMissing` without ONNX Runtime.
    """
    return msgspec.structs.replace(before or _lasting(status), models=status.models())


def installed(folders: Iterable[str] = ()) -> dict[str, str]:
    """Return the version of every installed package by its normalized name, as ``importlib.metadata`` does.

    Read from the names of the folders that the packaging specification "Recording installed projects" gives
    them: opening each one's METADATA takes a hundred times as long (1.6 ms a package).
    """
    found: dict[str, str] = {}
    for folder in folders or sys.path:
        path = Path(folder or ".")
        names = [one.name for one in path.iterdir()] if path.is_dir() else []
        for match in filter(None, map(_INSTALLED.fullmatch, names)):
            # The first on the path is the one that is imported.
            found.setdefault(normalized(match["name"]), match["version"])
    return dict(sorted(found.items()))


def normalized(package: str) -> str:
    """Write the name of a package as all its spellings are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package).lower()


def summary(settings: ServeSettings) -> dict[str, str]:
    """Return the settings that are not the defaults, as text."""
    given = {one.name: (getattr(settings, one.name), one.default) for one in fields(settings)}
    return {name: str(value) for name, (value, default) in given.items() if value != default}


def _lasting(status: Status) -> Replica:
    info, here = status.info, fingerprint()
    return Replica(
        id=info.replica,
        host=socket.gethostname(),
        address=info.address,
        grpc_address=info.grpc_address,
        pattern=info.pattern,
        os=here.os,
        kernel=f"{platform.system()} {platform.release()}",
        arch=here.arch,
        cpus=cpu_limit(),
        memory_bytes=memory_limit(),
        python=here.python,
        software=f"lading {lading.__version__}",
        lading=lading.__version__,
        packages=installed(),
        onnxruntime=here.onnxruntime,
        providers=tuple(import_onnxruntime().get_available_providers()),
        fingerprint=here.id,
        image=here.image,
        started_at=iso_time(info.started_at),
        settings=summary(info.settings),
    )
