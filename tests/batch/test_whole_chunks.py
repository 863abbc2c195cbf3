"""Which rows run together follows from the rows, and not from the pieces in which they were read."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from lading.batch.plan import chunk_rows
from lading.batch.whole_chunks import WholeChunks
from lading.errors import ShapeRefused
from lading.row_chunks import FixedChunks
from support.onnx_graphs import tensor


def runs(pieces: list[int], rows: int) -> list[list[int]]:
    """Return the rows of each run where a reader gives rows in `pieces`."""
    seen: list[list[int]] = []
    chunks, at = WholeChunks(rows), 0

    def run(inputs):
        seen.append(inputs["x"].tolist())
        return {"y": inputs["x"]}

    for size in pieces:
        values = np.arange(at, at + size)
        at += size
        for inputs, others in chunks.add({"x": values}, pa.record_batch({"row": values})):
            assert others["row"].to_pylist() == inputs["x"].tolist()
            FixedChunks(rows).run(run, inputs)
    for inputs, _ in chunks.rest():
        FixedChunks(rows).run(run, inputs)
    return seen


@pytest.mark.parametrize("columns", [4, 30, 1000, 5000, 70_000, 600_000])
def test_the_pieces_of_a_reader_do_not_decide_which_rows_run_together(columns):
    rows = chunk_rows([tensor("x", "float32", "batch", columns)])
    count = 3 * rows + rows // 3
    whole = runs([count], rows)
    assert [len(run) for run in whole[:3]] == [rows, rows, rows]
    for piece in (max(1, rows // 7), rows, rows + 1):
        pieces = [piece] * (count // piece) + ([count % piece] if count % piece else [])
        assert runs(pieces, rows) == whole


def test_rows_of_several_sizes_are_refused():
    chunks = WholeChunks(8)
    numbers = pa.record_batch({"row": [0, 1]})
    assert list(chunks.add({"x": np.zeros((2, 3))}, numbers)) == []
    assert list(chunks.add({"x": np.zeros((2, 4))}, numbers)) == []
    with pytest.raises(ShapeRefused, match="one size in all rows"):
        list(chunks.rest())
