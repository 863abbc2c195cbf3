"""A row that a batch run reads is the row that a server reads, whatever it holds; or both refuse it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lading.batch.casting import Caster
from lading.batch.inputs import find_inputs
from lading.batch.tables import Rows, Span, open_table
from lading.errors import InputError
from lading.signature import DTYPES, Array, Signature, Tensor
from lading.signature.csvtext import read_csv

TENSORS = tuple(
    Tensor(name="x", dtype=dtype, shape=("batch", 1), columns=("x",), allows_nan=allows, bound=bound)
    for dtype in DTYPES
    for allows in ((False, True) if dtype.startswith("float") else (False,))
    for bound in ((1e30, float("inf")) if dtype.startswith("float") else (float("inf"),))
)
FLOAT = next(tensor for tensor in TENSORS if tensor.dtype == "float32")
EDGES = (0, 1, -1, 127, 128, -129, 2**24 + 1, 2**31, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64)
NUMBERS = st.one_of(
    st.sampled_from(EDGES),
    st.integers(-(2**66), 2**66),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([1e39, -1e39, 1e30, 1.5, 65504.0, 65520.0, 1e308, 5e-324]),
)
WRITTEN = st.one_of(
    NUMBERS.map(str),
    st.from_regex(r"\s?[+-]?[0-9]{0,22}\.?[0-9]{0,3}([eE][+-]?[0-9]{1,3})?\s?", fullmatch=True),
    st.sampled_from(
        ["", " ", "NA", "nan", "NULL", "inf", "-Infinity", "+INF", "true", "FALSE", "yes", "1_0", "0x1", "١"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00\x1e"), max_size=5),
)
SETTINGS = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


def signature_of(tensor: Tensor) -> Signature:
    return Signature((tensor,), ())


def of_server(read: Any) -> Array | None:
    """Return what a server casts, or None if it refuses."""
    try:
        return np.asarray(read()["x"])
    except InputError:
        return None


def of_batch(signature: Signature, rows: Rows) -> Array | None:
    fitting = Caster(signature).cast(rows)
    assert len(fitting.kept) + len(fitting.rejected) == 1
    assert all(each.reason and each.content for each in fitting.rejected)
    return fitting.inputs["x"] if len(fitting.kept) else None


def read(name: str, data: bytes) -> Rows:
    with TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(data)
        (rows,) = open_table(find_inputs([Path(folder) / name]).files[0]).read(Span(0, None, 0, None), ["x"])
    return rows


def assert_same(batch: Array | None, server: Array | None) -> None:
    assert (batch is None) == (server is None)
    if batch is not None and server is not None:
        assert batch.dtype == server.dtype
        np.testing.assert_array_equal(batch, server)


@pytest.mark.slow
@SETTINGS
@given(tensor=st.sampled_from(TENSORS), cell=WRITTEN)
@example(tensor=TENSORS[-1], cell="+")
@example(tensor=FLOAT, cell="9" * 21)
@example(tensor=FLOAT, cell="0" * 21 + "1")
@example(tensor=FLOAT, cell="-nan")
@example(tensor=FLOAT, cell="nan(1)")
@example(tensor=FLOAT, cell="1e400")
@example(tensor=FLOAT, cell="0.1234567890123456789")
def test_a_cell_of_csv(tensor, cell):
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["x"], [cell]])
    body, signature = text.getvalue().encode(), signature_of(tensor)
    server = of_server(lambda: read_csv(signature, body, header=True))
    assert_same(of_batch(signature, read("a.csv", body)), server)


@pytest.mark.slow
@SETTINGS
@given(
    tensor=st.sampled_from(TENSORS),
    value=st.one_of(
        NUMBERS, st.none(), st.booleans(), st.text(max_size=5), st.lists(st.integers(), max_size=2)
    ),
)
def test_a_value_of_json(tensor, value):
    signature = signature_of(tensor)
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - NaN; JSON has neither
        return
    line = json.dumps({"x": value}).encode()
    server = of_server(lambda: signature.cast_rows([json.loads(line)]))
    assert_same(of_batch(signature, read("a.jsonl", line)), server)


@pytest.mark.slow
@SETTINGS
@given(tensor=st.sampled_from(TENSORS), kind=st.sampled_from(DTYPES), value=NUMBERS)
def test_a_value_of_a_column_with_a_type(tensor, kind, value):
    if kind in ("string", "bool"):
        return
    try:
        with np.errstate(over="ignore"):
            array = np.array([value]).astype(kind) if kind.startswith("float") else np.array([value], kind)
    except (OverflowError, ValueError):
        return  # The column itself does not hold it.
    signature = signature_of(tensor)
    server = of_server(lambda: signature.cast({"x": array.reshape(1, 1)}))
    column = pa.array(array)
    try:
        Caster(signature).columns(pa.schema([("x", column.type)]), "a")
    except InputError:
        assert server is None
        return
    rows = Rows(pa.array([0]), pa.RecordBatch.from_arrays([column], ["x"]))
    assert_same(of_batch(signature, rows), server)
