"""Offline scoring beside a bare loop of pyarrow and ONNX Runtime over the same files, interleaved in one run.

    python benchmarks/batch.py --rows 5000000 --rounds 3

Measures a file and a folder of 200 files with a logistic regression, and a fifth of the rows with 100 trees:
rows per second of the bare loop, of one process and of two, and of two bare loops at once, which is what the
machine has to give. Then the most memory for a million rows and for `--memory-rows`, and, where
``.venv-engines/spark`` exists, MLflow and pandas (`batch_peers`). ``--write`` puts it all into
docs/benchmarks-batch.md. Everything is made in a temporary folder and removed again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from sklearn.ensemble import HistGradientBoostingClassifier

import batch_page
import lading
from lading.bundle import Bundle

FILES = 200
PEERS = Path(__file__).parents[1] / ".venv-engines/spark/bin/python"
COLUMNS = [f"f{at}" for at in range(30)]
GROUP_ROWS = 131_072

BARE = """
import sys, numpy as np, onnxruntime, pyarrow as pa, pyarrow.parquet as pq
from pathlib import Path
model, source, out = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
names, dtype = [output.name for output in session.get_outputs()], session.get_inputs()[0].type
dtype = np.float64 if "double" in dtype else np.float32
paths = sorted(Path(source).glob("*")) if Path(source).is_dir() else [source]
files, writer = (pq.ParquetFile(path, memory_map=True) for path in paths), None
for batch in (batch for file in files for batch in file.iter_batches(65536, use_threads=False)):
    rows = np.stack([column.to_numpy() for column in batch.columns], axis=1).astype(dtype)
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
    """Measure, print, and with ``--write`` write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-rows", type=int, default=50_000_000)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks-batch.md")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure_all(Path(folder), settings.rows, settings.rounds, settings.memory_rows)
    print(json.dumps(results, indent=2))
    if settings.write:
        batch_page.write(results)


def measure_all(folder: Path, rows: int, rounds: int, memory_rows: int) -> dict[str, Any]:
    """Measure every case, and return the reports by name."""
    (folder / "bare.py").write_text(BARE)
    (folder / "score.py").write_text(SCORE)
    logistic, trees = packed(folder / "logistic", 0), packed(folder / "trees", 100)
    whole, fifth, many = folder / "rows.parquet", folder / "fifth.parquet", folder / "many"
    write_rows(whole, rows)
    write_rows(fifth, rows // 5)
    many.mkdir()
    for at in range(FILES):
        write_rows(many / f"{at:03}.parquet", rows // FILES, seed=at)
    results: dict[str, Any] = {
        "rows": rows,
        "rounds": rounds,
        "file": measure(folder / "a", logistic, whole, rows, rounds),
        "folder": measure(folder / "b", logistic, many, rows // FILES * FILES, rounds),
        "trees": measure(folder / "c", trees, fifth, rows // 5, rounds),
        "memory": memory(folder / "d", logistic, (1_000_000, memory_rows)),
    }
    if PEERS.exists():
        script = Path(__file__).with_name("batch_peers.py")
        for name, count in (("peers", 0), ("peers_trees", 100)):
            options = ["--rows", str(rows // 5), "--rounds", str(rounds), "--trees", str(count)]
            done = subprocess.run([PEERS, script, *options], check=True, stdout=subprocess.PIPE, text=True)
            results[name] = json.loads(done.stdout)
    return results


def measure(folder: Path, bundle: Bundle, source: Path, rows: int, rounds: int) -> dict[str, Any]:
    """Measure `rounds` times a bare loop, two at once, one process and two, one after the other."""
    folder.mkdir()
    seconds: dict[str, list[float]] = {"bare": [], "two_bare": [], "one": [], "two": []}
    scripts = folder.parent
    for at in range(rounds):
        bare = ("bare.py", bundle.model_path, source)
        seconds["bare"].append(timed(scripts, *bare, folder / f"bare-{at}")[0])
        with ThreadPoolExecutor(2) as both:
            ways = [both.submit(timed, scripts, *bare, folder / f"bare-{at}-{way}") for way in range(2)]
            seconds["two_bare"].append(max(way.result()[0] for way in ways))
        for name, processes in (("one", 1), ("two", 2)):
            out = folder / f"{name}-{at}"
            seconds[name].append(timed(scripts, "score.py", bundle.path, source, out, processes)[0])
    return {
        "rows": rows,
        **{
            f"{name}_rows_per_s": round((2 if name == "two_bare" else 1) * rows / statistics.median(took))
            for name, took in seconds.items()
        },
        "one_to_bare": _ratios(seconds["bare"], seconds["one"]),
        "two_to_one": _ratios(seconds["one"], seconds["two"]),
        "two_bare_to_bare": [round(2 * ratio, 2) for ratio in _ratios(seconds["bare"], seconds["two_bare"])],
    }


def memory(folder: Path, bundle: Bundle, sizes: Sequence[int]) -> dict[int, int]:
    """Return the most memory that scoring took, in MiB, by the number of rows."""
    folder.mkdir()
    most = {}
    for rows in sizes:
        source = folder / f"{rows}.parquet"
        write_rows(source, rows)
        _, printed = timed(folder.parent, "score.py", bundle.path, source, folder / str(rows), 1)
        most[rows] = round(int(printed) / 1024)
        source.unlink()
    return most


def _ratios(of: Sequence[float], to: Sequence[float]) -> list[float]:
    return [round(first / second, 2) for first, second in zip(of, to, strict=True)]


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


def write_rows(path: Path, rows: int, seed: int = 1) -> None:
    """Write rows group by group: the whole of them need not fit into memory."""
    schema = pa.schema([(name, pa.float32()) for name in COLUMNS])
    rng = np.random.default_rng(seed)
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
