"""Offline scoring of a data set: every row once, or set aside with the reason.

A run is planned from the bytes of its inputs, scored part by part under temporary names, and committed by one
manifest. Serves nothing and releases nothing. `spark_udf` scores columns of Spark frames in a notebook; only
when it is asked for is anything imported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from lading.errors import missing_extra

if TYPE_CHECKING:
    from lading.batch.on_spark.columns import spark_udf

__all__ = ["spark_udf"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'lading.batch' has no attribute {name!r}")
    try:
        module = importlib.import_module("lading.batch.on_spark.columns")
    except ModuleNotFoundError as error:
        raise missing_extra(f"`lading.batch.{name}`", "spark", error) from error
    return getattr(module, name)
