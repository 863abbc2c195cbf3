"""Numbers between Arrow and numpy: the same values, by way of no other library."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from lading.batch.arrow_numpy import to_arrow, to_numpy

DTYPES = ("int8", "uint16", "int32", "uint64", "float16", "float32", "float64", "bool")


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_the_same_on_both_sides(dtype):
    values = np.array([0, 1, 1, 0, 1, 1, 0, 0, 1, 0, 1], dtype)
    for part in (values, values[::2], values[:0]):
        column = to_arrow(part)
        assert column.equals(pa.array(part))
        assert to_numpy(column).dtype == dtype
        assert to_numpy(column).tolist() == part.tolist()
        assert to_numpy(column.slice(1, 3)).tolist() == part[1:4].tolist()


def test_nulls_come_as_pyarrow_has_them():
    assert np.isnan(to_numpy(pa.array([1.0, None]))).tolist() == [False, True]


@pytest.mark.slow
def test_pandas_is_not_imported():
    code = """
import sys
import numpy as np
from lading.batch.arrow_numpy import to_arrow, to_numpy
to_numpy(to_arrow(np.arange(3.0)))
to_arrow(np.array([True]))
sys.exit("pandas" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
