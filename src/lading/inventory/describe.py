"""What a server runs on and what it serves, as a `Replica`. Sends it nowhere; ``heartbeat`` does.

Constant facts (machine, limits, packages) are read once; the models are read each time, from counters that
the server keeps anyway. It holds no secrets: the settings of a server have none, and its environment is left
out.
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

_METADATA_FOLDER = re.compile(r"(?P<name>.+?)-(?P<version>\d[^-]*)(?:-py[\d.]+)?\.(?:dist|egg)-info")


def describe(status: Status, before: Replica | None = None) -> Replica:
    """Return the server of `status` as a `Replica`; its constant facts come from `before` if that is given.

    Raises `ExtraMissing` without ONNX Runtime.
    """
    policy = status.gate.facts.digest if status.gate is not None else "none"
    constant = before or _constant_facts(status)
    return msgspec.structs.replace(constant, models=status.models(), trust_policy=policy)


def installed_packages(folders: Iterable[str] = ()) -> dict[str, str]:
    """Return the version of every installed package by its normalized name, as ``importlib.metadata`` has it.

    Searches `folders`, by default ``sys.path``.
    """
    # The packaging specification "Recording installed projects" puts name and version into the folder's name:
    # opening each METADATA file would take a hundred times as long (1.6 ms per package).
    versions: dict[str, str] = {}
    for folder in folders or sys.path:
        path = Path(folder or ".")
        names = [entry.name for entry in path.iterdir()] if path.is_dir() else []
        for match in filter(None, map(_METADATA_FOLDER.fullmatch, names)):
            # Python imports the first one on the path.
            versions.setdefault(normalized(match["name"]), match["version"])
    return dict(sorted(versions.items()))


def normalized(package: str) -> str:
    """Return the normalized name of a package, the same for all its spellings (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package).lower()


def changed_settings(settings: ServeSettings) -> dict[str, str]:
    """Return the settings that differ from their defaults, as text."""
    values = {field.name: (getattr(settings, field.name), field.default) for field in fields(settings)}
    return {name: str(value) for name, (value, default) in values.items() if value != default}


def _constant_facts(status: Status) -> Replica:
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
        packages=installed_packages(),
        onnxruntime=here.onnxruntime,
        providers=tuple(import_onnxruntime().get_available_providers()),
        fingerprint=here.id,
        image=here.image,
        started_at=iso_time(info.started_at),
        settings=changed_settings(info.settings),
    )
