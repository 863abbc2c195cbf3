"""A check finds whatever differs from the manifest."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from lading.batch.checking import check_against, check_output
from lading.batch.run import run_batch
from lading.errors import (
    BatchChanged,
)
from support.batch_runs import HERE


def test_a_check_finds_every_change_of_the_output(tmp_path, iris, table, parquet):
    rows = table(3000).to_pydict()
    rows["petal_width"][7] = None
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pa.table(rows), path)
    out = tmp_path / "out"
    run_batch(iris, [path], out, HERE)
    scratch = tmp_path / "scratch"
    assert check_against(out, iris, [path], scratch, again=1).rescored == 1
    part = next(out.glob("part-*"))
    whole = part.read_bytes()
    part.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BatchChanged, match="bytes"):
        check_output(out)
    part.unlink()
    with pytest.raises(BatchChanged, match="found none"):
        check_output(out)
    part.write_bytes(whole)
    (out / "part-000009-extra.parquet").write_bytes(b"")
    with pytest.raises(BatchChanged, match="as well"):
        check_output(out)
    (out / "part-000009-extra.parquet").unlink()
    manifest = json.loads((out / "manifest.json").read_bytes())
    manifest["rows"] -= 1
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BatchChanged, match="rows"):
        check_output(out)
    parquet("rows.parquet", 2999)
    with pytest.raises(BatchChanged):
        check_against(out, iris, [path], scratch)
