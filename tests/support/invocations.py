"""Rows of iris in the forms that clients of MLflow and SageMaker send, and the labels for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lading.bundle import Bundle
from support.bundles import IRIS_COLUMNS
from support.hosted_app import AppClient, hosted, served_from

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]]
REVERSED = tuple(reversed(IRIS_COLUMNS))


def records(columns: tuple[str, ...] = IRIS_COLUMNS) -> list[dict[str, float]]:
    """Return `ROWS` as objects, with their keys in the order of `columns`."""
    named = [dict(zip(IRIS_COLUMNS, row, strict=True)) for row in ROWS]
    return [{column: row[column] for column in columns} for row in named]


def labels(client: AppClient) -> list[int]:
    """Return the labels that `iris` computes for `ROWS`, past every protocol."""
    classes: list[int] = (
        client.app.plane.find("iris").run({"X": np.array(ROWS, np.float32)})["label"].tolist()
    )
    return classes


def host_one(folders: pytest.TempPathFactory, make: Callable[..., Bundle], *arguments: Any) -> AppClient:
    """Return the application with the one model that `make` writes."""
    return hosted(served_from(make(folders.mktemp("invocations") / "one", *arguments), 1))
