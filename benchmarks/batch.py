"""Offline scoring beside a bare loop of pyarrow and ONNX Runtime over the same file, interleaved in one run.

    python benchmarks/batch.py --rows 5000000 --rounds 3

Prints rows per second of both, their ratio, that of two processes to one, and the most memory that scoring
took for a fifth of the rows and for all. Everything is made in a temporary folder and removed again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from sklearn.ensemble import HistGradientBoostingClassifier

import lading
from lading.bundle import Bundle

COLUMNS = [f"f{at}" for at in range(30)]
GROUP_ROWS = 131_072

BARE = """
import sys, numpy as np, onnxruntime, pyarrow as pa, pyarrow.parquet as pq
model, source, out = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
file, writer = pq.ParquetFile(source, memory_map=True), None
for batch in file.iter_batches(65536, use_threads=False):
    rows = np.stack([column.to_numpy() for column in batch.columns], axis=1).astype(np.float32)
    label, scores = session.run(names, {session.get_inputs()[0].name: rows})
    table = pa.table({"label": label, **{str(at): scores[:, at].copy() for at in range(scores.shape[1])}})
    writer = writer or pq.ParquetWriter(out, table.schema, compression="zstd")
    writer.write_table(table)
writer.close()
"""
SCORE = """
import sys, resource
from pathlib import Path
from lading.batch.run import Options, run_batch
from lading.bundle import Bundle
if __name__ == "__main__":
    bundle, source, out, processes = sys.argv[1:]
    run_batch(Bundle.open(bundle), [Path(source)], Path(out), Options(processes=int(processes)))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trees", type=int, default=0, help="trees of the model; 0 is a logistic regression")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), settings.rows, settings.rounds, settings.trees)


def measure(folder: Path, rows: int, rounds: int, trees: int) -> None:
    """Measure `rounds` times a bare loop, one process and two, one after the other."""
    bundle = packed(folder, trees)
    whole, fifth = folder / "rows.parquet", folder / "fifth.parquet"
    write_rows(whole, rows)
    write_rows(fifth, rows // 5)
    (folder / "bare.py").write_text(BARE)
    (folder / "score.py").write_text(SCORE)
    seconds: dict[str, list[float]] = {"bare": [], "one": [], "two": []}
    for at in range(rounds):
        bare = ("bare.py", bundle.model_path, whole, folder / f"bare-{at}.parquet")
        seconds["bare"].append(timed(folder, *bare)[0])
        for name, processes in (("one", 1), ("two", 2)):
            out = folder / f"{name}-{at}"
            seconds[name].append(timed(folder, "score.py", bundle.path, whole, out, processes)[0])
    memory = [
        int(timed(folder, "score.py", bundle.path, source, folder / f"memory-{source.stem}", 1)[1]) / 1024
        for source in (fifth, whole)
    ]
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    report = {
        "rows": rows,
        "columns": len(COLUMNS),
        "cores": os.cpu_count(),
        **{f"{name}_rows_per_s": round(rows / value) for name, value in middle.items()},
        "ratio_to_bare": [round(b / o, 3) for b, o in zip(seconds["bare"], seconds["one"], strict=True)],
        "two_to_one": [round(o / t, 3) for o, t in zip(seconds["one"], seconds["two"], strict=True)],
        "memory_mib_fifth_and_whole": [round(value) for value in memory],
    }
    print(json.dumps(report, indent=2))


def packed(folder: Path, trees: int) -> Bundle:
    """Return a bundle over 30 columns of floats, with a profile of its training data."""
    from sklearn.linear_model import LogisticRegression

    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(20_000, 30)), columns=COLUMNS)
    kind = HistGradientBoostingClassifier(max_iter=trees) if trees else LogisticRegression()
    model = kind.fit(rows, rows["f0"] + rows["f1"] > 0)
    return lading.pack(
        model,
        samples=rows[:100],
        reference=rows,
        name="scored",
        owner="bench@example.com",
        purpose="classification",
        to=folder / "bundle",
    )


def write_rows(path: Path, rows: int) -> None:
    """Write rows group by group: the whole of them need not fit into memory."""
    schema = pa.schema([(name, pa.float32()) for name in COLUMNS])
    rng = np.random.default_rng(1)
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, GROUP_ROWS):
            values = rng.normal(size=(min(GROUP_ROWS, rows - start), 30)).astype(np.float32)
            table = pa.table({name: values[:, at].copy() for at, name in enumerate(COLUMNS)}, schema=schema)
            writer.write_table(table)


def timed(folder: Path, script: str, *arguments: object) -> tuple[float, str]:
    """Return how long a script took in a process of its own, and what it printed."""
    began = time.perf_counter()
    command = [sys.executable, str(folder / script), *map(str, arguments)]
    # What goes wrong is for the reader of the terminal.
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return time.perf_counter() - began, done.stdout.strip()


if __name__ == "__main__":
    main()
