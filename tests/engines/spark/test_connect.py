"""Spark Connect, where a session has no RDDs: parts and columns are scored all the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lading.batch.run import Options, run_batch
from support.batch_bundles import floats
from support.batch_runs import files

pytestmark = pytest.mark.xdist_group("spark")

# In a process of its own: one has sessions of the one kind or of the other.
RUN = """
import json, sys
from pathlib import Path
from pyspark.sql import SparkSession
from lading.batch import plan, spark_udf
from lading.batch.on_spark.session import is_connect
from lading.batch.run import Options, run_batch
from lading.bundle import Bundle
plan.PART_ROWS = 200
bundle, source, out = sys.argv[1:]
bundle = Bundle.open(bundle)
builder = SparkSession.builder.remote("local[2]").config("spark.ui.enabled", "false")
session = builder.config("spark.connect.grpc.binding.address", "127.0.0.1").getOrCreate()
assert is_connect(session)
run = run_batch(bundle, [Path(source)], Path(out), Options(engine="spark", keep=("customer",)))
score = spark_udf(session, bundle)
rows = session.read.parquet(source).select(score().alias("s")).select("s.*").toArrow().to_pylist()
print(json.dumps({"scored": run.manifest.scored, "reasons": sum(row["reason"] is not None for row in rows)}))
session.stop()
"""


@pytest.mark.slow
@pytest.mark.wide
def test_parts_and_columns_are_scored_over_spark_connect(tmp_path, monkeypatch):
    from lading.batch import plan

    monkeypatch.setattr(plan, "PART_ROWS", 200)
    case = floats(tmp_path)
    run = run_batch(case.bundle, [case.source], tmp_path / "here", Options(keep=case.keep, processes=1))
    environ = {
        **os.environ,
        "LADING_CACHE": str(tmp_path / "cache"),
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": str(Path(__file__).parents[3] / "src"),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    command = [sys.executable, "-c", RUN, str(case.bundle.path), str(case.source), str(tmp_path / "out")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer == {"scored": run.manifest.scored, "reasons": run.manifest.rejected}
    assert files(tmp_path / "out") == files(tmp_path / "here")
