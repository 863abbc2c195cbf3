"""Offline scoring beside MLflow's `spark_udf` and pandas' chunks: one model, one Parquet file, in one run.

    .venv-engines/spark/bin/python benchmarks/batch_peers.py --rows 5000000 --rounds 3

Both peers only predict labels, while lading writes labels and probabilities, checks every row, counts it
for drift and hashes what it has written. Sessions of Spark are made before the clock starts, processes of
lading and of pandas after. Prints rows per second and, for each round, how many times as fast lading is.
Everything is made in a temporary folder and removed again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

import lading
from batch import COLUMNS, SCORE, write_rows

PANDAS = """
import sys, joblib, pyarrow as pa, pyarrow.parquet as pq
model, source, out = sys.argv[1:]
model, file, writer = joblib.load(model), pq.ParquetFile(source, memory_map=True), None
for batch in file.iter_batches(65536):
    table = pa.table({"label": model.predict(batch.to_pandas())})
    writer = writer or pq.ParquetWriter(out, table.schema, compression="zstd")
    writer.write_table(table)
writer.close()
"""

SPARK = """
import os, sys, time
os.environ.update(PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1")
from pyspark.sql import SparkSession
{imports}
model, source, out, cores = sys.argv[1:]
builder = SparkSession.builder.master(f"local[{{cores}}]").config("spark.driver.memory", "4g")
builder = builder.config("spark.ui.enabled", "false").config("spark.log.level", "ERROR")
# As lading writes: which of two is chosen must not decide.
spark = builder.config("spark.sql.parquet.compression.codec", "zstd").getOrCreate()
spark.range(8).count()
began = time.perf_counter()
rows = spark.read.parquet(source)
{score}
print(time.perf_counter() - began)
spark.stop()
"""
MLFLOW = SPARK.format(
    imports="import mlflow.pyfunc\nfrom pyspark.sql.functions import struct",
    score="""predict = mlflow.pyfunc.spark_udf(spark, model, result_type="long", env_manager="local")
rows.select(predict(struct(*rows.columns)).alias("label")).write.parquet(out)""",
)
UDF = SPARK.format(
    imports="from lading.batch import spark_udf",
    score="""score = spark_udf(spark, model)
rows.select(score().alias("scored")).select("scored.*").write.parquet(out)""",
)
SCRIPTS = {"lading": SCORE, "pandas": PANDAS, "mlflow": MLFLOW, "lading_spark_udf": UDF}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trees", type=int, default=0, help="trees of the model; 0 is a logistic regression")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), settings.rows, settings.rounds, settings.trees), indent=2))


def measure(folder: Path, rows: int, rounds: int, trees: int) -> dict[str, Any]:
    """Measure all of them `rounds` times, one after the other, and return the report."""
    models, cores = saved(folder, trees), len(os.sched_getaffinity(0))
    source = folder / "rows.parquet"
    write_rows(source, rows)
    for name, script in SCRIPTS.items():
        (folder / f"run_{name}.py").write_text(script)
    seconds: dict[str, list[float]] = {name: [] for name in SCRIPTS}
    for at in range(rounds):
        for name in SCRIPTS:
            arguments: list[object] = [models[name], source, folder / f"{name}-{at}"]
            if name != "pandas":
                arguments.append(cores)
            is_spark = name in ("mlflow", "lading_spark_udf")
            seconds[name].append(timed(folder, f"run_{name}.py", *arguments, is_spark=is_spark))
    return {
        "rows": rows,
        "columns": len(COLUMNS),
        "trees": trees,
        "cores": cores,
        "machine": platform.machine(),
        **{f"{name}_rows_per_s": round(rows / statistics.median(took)) for name, took in seconds.items()},
        **{
            f"{name}_to_{peer}": [
                round(theirs / ours, 2) for ours, theirs in zip(seconds[name], seconds[peer], strict=True)
            ]
            for name in ("lading", "lading_spark_udf")
            for peer in ("mlflow", "pandas")
        },
    }


def saved(folder: Path, trees: int) -> dict[str, Path]:
    """Train one model, and save it for each of them."""
    import mlflow.sklearn

    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(20_000, 30)), columns=COLUMNS)
    kind = HistGradientBoostingClassifier(max_iter=trees) if trees else LogisticRegression()
    model = kind.fit(rows, (rows["f0"] + rows["f1"] > 0).astype(int))
    facts = {"name": "scored", "owner": "bench@example.com", "purpose": "classification"}
    bundle = lading.pack(model, samples=rows[:100], reference=rows, to=folder / "bundle", **facts)
    joblib.dump(model, folder / "model.joblib")
    trusted = [
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    ]
    mlflow.sklearn.save_model(model, folder / "mlflow-model", skops_trusted_types=trusted)
    return {
        "lading": bundle.path,
        "lading_spark_udf": bundle.path,
        "pandas": folder / "model.joblib",
        "mlflow": folder / "mlflow-model",
    }


def timed(folder: Path, script: str, *arguments: object, is_spark: bool) -> float:
    """Return how long a script took; of one on Spark, without the start of its session."""
    began = time.perf_counter()
    command = [sys.executable, str(folder / script), *map(str, arguments)]
    # What goes wrong is for the reader of the terminal.
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout) if is_spark else time.perf_counter() - began


if __name__ == "__main__":
    main()
