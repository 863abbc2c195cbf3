"""A bundle with a profile, and files of rows for it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from lading.bundle import Bundle
from support.bundles import linear_bundle
from support.data_buckets import DataBucket
from support.s3_faults import FaultyS3, faulty_s3

COLUMNS = ("sepal_length", "sepal_width", "petal_length", "petal_width")


@pytest.fixture(scope="session")
def iris(tmp_path_factory) -> Bundle:
    return linear_bundle(tmp_path_factory.mktemp("bundle") / "iris")


@pytest.fixture
def table() -> Callable[..., pa.Table]:
    """Return a function that makes rows, with the number of each in the column `customer`."""

    def table(rows: int, seed: int = 0) -> pa.Table:
        values = np.random.default_rng(seed).uniform(0, 7, (rows, 4))
        columns = {name: values[:, at] for at, name in enumerate(COLUMNS)}
        return pa.table({**columns, "customer": np.arange(rows)})

    return table


@pytest.fixture
def parquet(tmp_path, table) -> Callable[..., Path]:
    """Return a function that writes a file of rows in groups."""

    def write(name: str, rows: int, *, group: int = 1000, seed: int = 0) -> Path:
        path: Path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = table(rows, seed)
        pyarrow.parquet.write_table(data, path, row_group_size=group, write_page_checksum=True)
        return path

    return write


@pytest.fixture
def bucket(s3_url, s3_buckets, tmp_path, monkeypatch) -> DataBucket:
    """Return an empty prefix of a bucket; copies of its objects come into a folder of this test alone."""
    (tmp_path / "copies").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "copies"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "copies"))
    return DataBucket(s3_url, s3_buckets)


@pytest.fixture
def faulty(bucket, s3_server, monkeypatch) -> Iterator[FaultyS3]:
    """Return a proxy through which lading reaches the bucket."""
    with faulty_s3(s3_server.address) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


# A group of rows is a part, so that there is something to be killed between.
RUN = """
import sys
from pathlib import Path
from lading.batch import plan
plan.PART_ROWS = 500
from lading.batch.run import Options, run_batch
from lading.bundle import Bundle
if __name__ == "__main__":
    bundle, source, out, processes = sys.argv[1:]
    options = Options(keep=("customer",), processes=int(processes))
    place = lambda text: text if text.startswith("s3://") else Path(text)
    run_batch(Bundle.open(bundle), [place(source)], place(out), options)
"""


@pytest.fixture
def start(tmp_path, iris):
    script = tmp_path / "run.py"
    script.write_text(RUN)
    started: list[subprocess.Popen[bytes]] = []

    def start(source: Path | str, out: Path | str, processes: int = 1) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(script), str(iris.path), str(source), str(out), str(processes)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
