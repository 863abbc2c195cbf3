"""Columns of categories and of numbers with gaps, and the answers of packed transformers for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lading.bundle import Bundle
from lading.runtime.open import load_runtime

LARGE = 1_000_000_007  # float32 has no such number, and float64 has no LARGER
LARGER = 2**53 + 1


def categories(rows: int = 160) -> pd.DataFrame:
    """Draw texts, whole numbers, fractions with gaps, and booleans."""
    random = np.random.default_rng(0)
    texts = ["a", "b", "\u00e9t\u00e9", "None", "nan", ""]
    return pd.DataFrame(
        {
            "text": np.array(random.choice(texts, rows, p=[0.4, 0.3, 0.15, 0.05, 0.05, 0.05]), dtype=object),
            "whole": random.choice([0, 1, 2, 70_000, LARGE], rows, p=[0.4, 0.3, 0.2, 0.05, 0.05]),
            "part": random.choice([1.5, 2.25, np.nan, 3.0], rows),
            "flag": random.random(rows) < 0.4,
        }
    )


def gaps(rows: int = 160, *, share: float = 0.15) -> Any:
    """Draw numbers of four columns, of which the first three have gaps, ``[rows, 4]`` of float64."""
    random = np.random.default_rng(0)
    numbers = random.normal(size=(rows, 4)).round(2)
    numbers[:, :3][random.random((rows, 3)) < share] = np.nan
    return numbers


def served_features(bundle: Bundle, rows: Any) -> Any:
    """Return the features that a bundle answers for an array or a frame, as a request brings it."""
    inputs = bundle.manifest.signature.inputs
    if len(inputs) > 1:
        body: Any = {tensor.name: [[value] for value in rows[tensor.name].tolist()] for tensor in inputs}
    else:
        body = np.asarray(rows).tolist()
    runtime = load_runtime(bundle)
    try:
        return runtime.run(bundle.manifest.signature.cast_rows(body))["features"]
    finally:
        runtime.close()
