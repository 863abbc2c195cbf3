"""CSV read by a signature, strictly, for the server and the command line."""

from __future__ import annotations

import numpy as np
import pytest

from lading.errors import BodyInvalid, EmptyInput, InputError, InputMissing, ShapeRefused, ValueRefused
from lading.signature import Signature, Tensor
from lading.signature.csvtext import read_csv
from support.memory import peak_bytes

OUT = (Tensor(name="y", dtype="float32", shape=("batch",)),)
BARE = Signature((Tensor(name="X", dtype="float32", shape=("batch", 2)),), OUT)
NAMED = Signature((Tensor(name="X", dtype="float32", shape=("batch", 2), columns=("u", "v")),), OUT)
WHOLE = Signature((Tensor(name="X", dtype="int64", shape=("batch", 2)),), OUT)
GAPS = Signature((Tensor(name="X", dtype="float64", shape=("batch", 2), allows_nan=True),), OUT)


@pytest.mark.parametrize("text", [b"u,v\n1,2\n", b"v,u\n2,1\n", b"1,2\n", b"\xef\xbb\xbf1,2\r\n\r\n"])
def test_a_header_orders_the_columns_and_may_be_left_out(text):
    np.testing.assert_array_equal(read_csv(NAMED, text)["X"], [[1, 2]])


@pytest.mark.parametrize("cell", ["1_000", "0x10", "１", "one", "1e400", ""])
@pytest.mark.parametrize("signature", [BARE, WHOLE], ids=["float32", "int64"])
def test_a_number_is_read_as_people_write_it_not_as_python_does(signature, cell):
    with pytest.raises(ValueRefused, match="in line 2, column `X\\[1\\]`"):
        read_csv(signature, f"1,2\n3,{cell}\n".encode())


@pytest.mark.parametrize("cell", ["", "na", "NaN", "null"])
def test_a_missing_value_is_accepted_only_if_the_tensor_allows_it(cell):
    assert np.isnan(read_csv(GAPS, f"1,{cell}\n".encode())["X"][0, 1])
    with pytest.raises(ValueRefused):
        read_csv(BARE, f"1,2\n1,{cell}\n".encode())


@pytest.mark.parametrize("columns", [(), ("u", "v")])
def test_a_cell_may_be_empty_only_in_a_column_that_may_be_missing(columns):
    fields = {"name": "X", "dtype": "float64", "shape": ("batch", 2), "columns": columns}
    signature = Signature((Tensor(**fields, allows_nan=True, nan_columns=(1,)),), OUT)
    assert np.isnan(read_csv(signature, b"1,\n2,3\n")["X"]).tolist() == [[False, True], [False, False]]
    with pytest.raises(ValueRefused, match=r"an empty cell in line 2, column `(u|X\[0\])`"):
        read_csv(signature, b"1,\n,3\n")


@pytest.mark.parametrize(
    ("signature", "text", "kind", "text_of_error"),
    [
        (NAMED, "", EmptyInput, "`a.csv`: expected at least one row"),
        (NAMED, "u,w\n1,2\n", InputMissing, "`a.csv`, line 1: expected column `v`"),
        (NAMED, "u,v\n1,2,3\n", ShapeRefused, "`a.csv`, line 2: expected 2 values, found 3"),
        (BARE, "a,b,c\n1,2\n", ShapeRefused, "`a.csv`, line 1: expected 2 values, found 3"),
        (BARE, "0,1\n5,6\n", BodyInvalid, "`a.csv`, line 1: expected a header or a row"),
    ],
)
def test_an_error_names_the_line(signature, text, kind, text_of_error):
    with pytest.raises(InputError, match=text_of_error) as caught:
        read_csv(signature, text.encode(), "`a.csv`")
    assert type(caught.value) is kind


@pytest.mark.slow
@pytest.mark.parametrize("signature", [BARE, WHOLE], ids=["float32", "int64"])
def test_many_lines_are_read_as_few_are(signature):
    values = np.arange(10, 100_010).reshape(-1, 2)
    text = "".join(f"{a},{b}\n" for a, b in values.tolist())
    np.testing.assert_array_equal(read_csv(signature, text.encode())["X"], values)


@pytest.mark.slow
def test_an_error_behind_many_lines_names_the_line_or_the_row():
    text = b"1,2\n" * 50_000
    with pytest.raises(ValueRefused, match="in line 50001, column"):
        read_csv(BARE, text + b"1,x\n")
    with pytest.raises(ShapeRefused, match="line 50001: expected 2 values, found 3"):
        read_csv(BARE, text + b"1,2,3\n")
    with pytest.raises(ValueRefused) as caught:
        read_csv(WHOLE, text + b"1,2.5\n")
    assert caught.value.path == "$[50000][1]"


@pytest.mark.slow
@pytest.mark.parametrize("signature", [BARE, WHOLE, GAPS], ids=["float32", "int64", "float64"])
def test_reading_takes_a_few_times_the_size_of_the_file(signature):
    text = b"1,2\n" * 150_000
    # The matrix itself is two or four times as large; read as texts all at once, it took 50 times as much.
    assert peak_bytes(lambda: read_csv(signature, text)) < 22 * len(text)
