"""Batch runs as tests look at them: what was scored, what was set aside, and what a model answers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from lading.batch.run import Options
from lading.runtime.open import load_runtime

COLUMNS = ("sepal_length", "sepal_width", "petal_length", "petal_width")
HERE = Options(keep=("customer",), processes=1)


def scored(folder: Path) -> pa.Table:
    return pa.concat_tables([pyarrow.parquet.read_table(path) for path in sorted(folder.glob("part-*"))])


def aside(folder: Path) -> list[dict]:
    parts = sorted((folder / "rejected").glob("*"))
    return [row for path in parts for row in pyarrow.parquet.read_table(path).to_pylist()]


def answers(iris, table: pa.Table) -> np.ndarray:
    inputs = np.stack([table[name].to_numpy() for name in COLUMNS], axis=1).astype("float32")
    return load_runtime(iris, threads=1).run_whole({"X": inputs})["label"]


def files(folder: Path) -> dict[str, bytes]:
    names = [path for path in sorted(folder.rglob("*")) if path.is_file() and ".lading" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in names}


def has_come_to(process: subprocess.Popen[bytes], done: Path, parts: int) -> bool:
    return process.poll() is not None or (done.is_dir() and len(list(done.glob("*.json"))) >= parts)


def dirty(path: Path, table) -> Path:
    """Write rows in groups of 500, one in a hundred of them without a value."""
    rows = table(20_000).to_pydict()
    for at in range(0, 20_000, 100):
        rows["petal_width"][at] = None
    pyarrow.parquet.write_table(pyarrow.table(rows), path, row_group_size=500)
    return path
