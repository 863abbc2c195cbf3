"""Records back to arrays: of every dtype and shape, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from lading.errors import InputMissing
from lading.monitor.log.reader import open_log
from lading.monitor.log.tensors import arrays_of, complete_rows, present
from lading.signature import DTYPES, Signature, Tensor
from support.predictions import LogMaker, chunk, served


def through_the_log(tmp_path, tensors: tuple[Tensor, ...], inputs: dict[str, np.ndarray]):
    """Log one request a row; return the logged inputs."""
    log = LogMaker(tmp_path)
    rows = len(next(iter(inputs.values())))
    ids = [f"{at}" for at in range(rows)]
    log.add(chunk(ids, served=served(Signature(tensors, ())), inputs=inputs, outputs={}))
    log.flush()
    (batch,) = open_log(str(tmp_path)).records("iris", columns=["inputs"])
    return batch.column("inputs")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 2)])
def test_a_tensor_comes_back_bit_for_bit(tmp_path, dtype, shape):
    draws = np.random.default_rng(0)
    values = draws.integers(0, 2, (4, *shape)) if dtype == "bool" else draws.integers(0, 100, (4, *shape)) / 8
    array = values.astype(str).astype(object) if dtype == "string" else values.astype(dtype)
    tensor = Tensor(name="x", dtype=dtype, shape=("batch", *shape))
    ((rows, arrays),) = arrays_of(through_the_log(tmp_path, (tensor,), {"x": array}), (tensor,))
    assert rows.tolist() == [0, 1, 2, 3]
    assert arrays["x"].dtype == array.dtype
    assert arrays["x"].shape == array.shape
    assert arrays["x"].tolist() == array.tolist()


def test_columns_of_several_tensors_with_equal_names_come_back_to_their_own(tmp_path):
    tensors = tuple(Tensor(name=n, dtype="float32", shape=("batch", 2), columns=("a", n)) for n in ("x", "y"))
    inputs = {name: np.random.default_rng(at).random((3, 2), np.float32) for at, name in enumerate("xy")}
    ((_, arrays),) = arrays_of(through_the_log(tmp_path, tensors, inputs), tensors)
    assert all((arrays[name] == inputs[name]).all() for name in "xy")


def test_rows_of_several_sizes_come_in_parts_of_one_size(tmp_path):
    tensor = Tensor(name="x", dtype="float32", shape=("batch", "length"))
    log = LogMaker(tmp_path)
    for at, length in enumerate((2, 3, 2)):
        inputs = {"x": np.full((1, length), at, np.float32)}
        log.add(chunk([f"{at}"], served=served(Signature((tensor,), ())), inputs=inputs, outputs={}))
    log.flush()
    (batch,) = open_log(str(tmp_path)).records("iris", columns=["inputs"])
    parts = {tuple(rows): arrays["x"].shape for rows, arrays in arrays_of(batch.column("inputs"), (tensor,))}
    assert parts == {(0, 2): (2, 2), (1,): (1, 3)}


def test_what_a_record_lacks_is_known_before_it_is_replayed(tmp_path):
    tensors = tuple(Tensor(name=name, dtype="float32", shape=("batch",)) for name in "xy")
    struct = through_the_log(tmp_path, tensors[:1], {"x": np.zeros(2, np.float32)})
    assert present(struct, tensors) == [tensors[0]]
    assert complete_rows(struct, tensors[:1]).tolist() == [True, True]
    with pytest.raises(InputMissing, match="expected `y`, found no such column"):
        complete_rows(struct, tensors)
