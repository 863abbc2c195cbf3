"""The engines by their names. Loads only the one that is asked for."""

from __future__ import annotations

import importlib

from lading.batch.engines import Engine
from lading.errors import InvalidSetting, missing_extra

ENGINES = {
    "local": "lading.batch.engines.local",
    "ray": "lading.batch.engines.ray",
    "spark": "lading.batch.engines.spark",
}
"""The module of each engine."""


def engine(name: str) -> Engine:
    """Return the engine `name`. Raises `InvalidSetting` and `ExtraMissing`."""
    if name not in ENGINES:
        known = ", ".join(f"`{known}`" for known in ENGINES)
        raise InvalidSetting("`--engine`", expected=known, found=f"`{name}`")
    try:
        module = importlib.import_module(ENGINES[name])
    except ModuleNotFoundError as error:
        raise missing_extra(f"`--engine {name}`", name, error) from error
    return module.LocalEngine() if name == "local" else Engine(module.score)
