"""How this host runs models in Python: what it allows, where environments are, the limits of processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec

from lading.bundle.environment_lock import EnvironmentLock
from lading.runtime.python.environments import DEFAULT_TIMEOUT_S
from lading.settings import ServeSettings, serve_settings

Allow = Literal["none", "code", "pickle"]
"""What of a bundle's own may run here: nothing, its modules, or what it has pickled as well."""


@dataclass(frozen=True)
class PythonHost:
    """How Python runs here.

    `environments` is their folder, None for the usual one. They are built from a folder of `wheels`, None for
    the package index that pip is configured with. A model has a number of `processes`; each may allocate
    `memory_bytes` (0: no limit), and is ended if a run takes longer than `run_deadline_s`.
    An environment is built within `build_timeout_s`, or not at all.
    `lock` replaces the lock of the bundle, to try other versions: nothing that is seen then is proof of it.
    """

    allow: Allow = "none"
    # None is not resolved here: a setting may change between two loads.
    environments: Path | None = None
    wheels: Path | None = None
    processes: int = 1
    memory_bytes: int = 0
    run_deadline_s: float = 60.0
    build_timeout_s: float = DEFAULT_TIMEOUT_S
    lock: EnvironmentLock | None = None


DEFAULT_HOST = PythonHost()


def host_of(settings: ServeSettings) -> PythonHost:
    """Return how Python runs in a server of these settings."""
    return PythonHost(
        allow=msgspec.convert(settings.allow, Allow),
        wheels=Path(settings.wheels) if settings.wheels else None,
        processes=settings.model_processes,
        memory_bytes=settings.process_memory_mb * 1_000_000,
        run_deadline_s=settings.deadline_s,
        build_timeout_s=settings.load_timeout_s,
    )


def this_host(allow: str | None = None, wheels: Path | None = None) -> PythonHost:
    """Return how Python runs by the variables of the environment; `allow` and `wheels` win over them.

    Raises `InvalidSetting`.
    """
    stated = {"allow": allow, "wheels": None if wheels is None else str(wheels)}
    # A command may wait for a large download, where a server has others to load.
    return replace(host_of(serve_settings(stated)), build_timeout_s=DEFAULT_TIMEOUT_S)
