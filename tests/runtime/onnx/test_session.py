"""One model in ONNX Runtime: dtypes, refused models, external data, memory and threads."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lading.errors import (
    EmptyInput,
    ModelInvalid,
    OperatorUnsupported,
    RunFailed,
    SignatureMismatch,
    ValueRefused,
)
from lading.runtime.onnx.session import OnnxRuntime
from lading.runtime.open import load_runtime
from lading.signature import DTYPES
from support.bundles import linear_model
from support.large_models import attention_model
from support.onnx_graphs import graph, identity, node, tensor
from support.onnx_sessions import open_error, open_session


def values_of(dtype: str) -> np.ndarray:
    if dtype == "string":
        return np.array(["a", "é", "", "日本語 🙂"], dtype=object)
    if dtype == "bool":
        return np.array([True, False, True])
    if dtype.startswith("float"):
        info = np.finfo(dtype)
        return np.array([0, -0.0, info.max, info.tiny, np.nan, np.inf, -np.inf, 1.5], dtype)
    info = np.iinfo(dtype)
    return np.array([info.min, 0, 1, info.max], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_survives_a_run_unchanged(tmp_path, dtype):
    runtime = open_session(tmp_path, identity(dtype))
    assert runtime.inputs == (tensor("X", dtype),)
    assert runtime.outputs == (tensor("Y", dtype),)
    values = values_of(dtype)
    answer = runtime.run({"X": values})["Y"]
    assert answer.dtype == values.dtype
    assert answer.tolist() == values.tolist() or np.array_equal(answer, values, equal_nan=True)


def test_strings_are_returned_as_an_object_array_of_str(tmp_path):
    answer = open_session(tmp_path, identity("string")).run({"X": np.array(["a", "b"], dtype=object)})["Y"]
    assert answer.dtype == object
    assert {type(text) for text in answer} == {str}


def test_a_run_computes_all_outputs_or_the_requested_ones(tmp_path):
    runtime = open_session(tmp_path, linear_model())
    rows = {"X": np.zeros((2, 4), "float32")}
    assert list(runtime.run(rows)) == ["label", "probabilities"]
    assert list(runtime.run(rows, ["probabilities"])) == ["probabilities"]


@pytest.mark.parametrize("rows", [1, 2, 33, 1000])
def test_a_row_has_the_same_answer_in_a_batch_of_any_size(tmp_path, rows):
    runtime = open_session(tmp_path, linear_model())
    values = np.random.default_rng(1).uniform(size=(rows, 4)).astype("float32")
    many = runtime.run({"X": values})
    assert len(many["label"]) == rows
    last = runtime.run({"X": values[-1:]})
    np.testing.assert_allclose(last["probabilities"][0], many["probabilities"][-1], rtol=1e-5)


def test_input_arrays_may_have_any_memory_layout(tmp_path):
    runtime = open_session(tmp_path, identity("float32", "batch", 4))
    values = np.arange(16, dtype="float32").reshape(4, 4)
    for view in (values.T, values[::2], values[:, ::-1], np.asfortranarray(values)):
        np.testing.assert_array_equal(runtime.run({"X": view})["Y"], view)


def test_a_model_without_a_batch_dimension_runs(tmp_path):
    total = graph(
        [node("ReduceSum", "X", "Y", keepdims=0)], [tensor("X", "float32", 2, 3)], [tensor("Y", "float32", 1)]
    )
    runtime = open_session(tmp_path, total)
    assert runtime.run({"X": np.ones((2, 3), "float32")})["Y"] == 6


def test_an_unnamed_open_dimension_is_a_question_mark(tmp_path):
    from onnx import TensorProto, helper

    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 4]) for name in ("X", "Y")]
    made = helper.make_graph([node("Relu", "X", "Y")], "g", info[:1], info[1:])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert open_session(tmp_path, model.SerializeToString()).inputs[0].shape == ("?", 4)


def test_a_failed_run_raises_one_sentence_and_the_next_run_works(tmp_path):
    table = {"D": np.array([1, 2, 3], "float32")}
    pick = graph([node("Gather", "D I", "Y")], [tensor("I", "int64")], [tensor("Y")], constants=table)
    runtime = open_session(tmp_path, pick)
    with pytest.raises(RunFailed) as caught:
        runtime.run({"I": np.array([5])})
    assert "Gather node: indices element out of data bounds" in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert runtime.run({"I": np.array([2])})["Y"].tolist() == [3]


def test_an_empty_tensor_that_a_model_fails_on_is_the_callers_value(tmp_path):
    first = graph(
        [node("Gather", "X I", "Y", axis=1)],
        [tensor("X", "float32", "batch", "n")],
        [tensor("Y")],
        constants={"I": np.array(0)},
    )
    runtime = open_session(tmp_path, first)
    with pytest.raises(EmptyInput) as caught:
        runtime.run({"X": np.zeros((1, 0), "float32")})
    assert "input `X`: expected at least one value" in str(caught.value)
    assert "found shape `[1, 0]`" in str(caught.value)
    assert runtime.run({"X": np.ones((1, 2), "float32")})["Y"].tolist() == [1]


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"X": np.zeros((1, 5), "float32")},
        {"X": np.zeros((1, 4), "float64")},
        {"X": np.zeros((1, 4), "float32"), "Z": np.zeros(1)},
        {"X": "text"},
        {"X": None},
    ],
)
def test_invalid_inputs_raise_run_failed_and_nothing_else(tmp_path, inputs):
    with pytest.raises(RunFailed) as caught:
        open_session(tmp_path, linear_model()).run(inputs)
    assert "\n" not in str(caught.value)


def test_a_failed_run_or_load_prints_nothing(tmp_path, capfd):
    table = {"D": np.array([1.0], "float32")}
    pick = graph([node("Gather", "D I", "Y")], [tensor("I", "int64")], [tensor("Y")], constants=table)
    with pytest.raises(RunFailed):
        open_session(tmp_path, pick).run({"I": np.array([9])})
    open_error(tmp_path, identity(opset=99))
    open_session(tmp_path, identity(opset=6)).close()
    assert capfd.readouterr() == ("", "")


def test_several_threads_run_one_model_concurrently(tmp_path):
    runtime = open_session(tmp_path, linear_model())
    values = np.random.default_rng(2).uniform(size=(8, 4)).astype("float32")
    expected = runtime.run({"X": values})["probabilities"]

    def answers_are_right() -> bool:
        answers = (runtime.run({"X": values})["probabilities"] for _ in range(200))
        return all(np.array_equal(answer, expected) for answer in answers)

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(answers_are_right) for _ in range(4)]
    assert [future.result() for future in futures] == [True] * 4


def test_running_a_closed_model_raises_run_failed(tmp_path):
    runtime = open_session(tmp_path, linear_model())
    runtime.close()
    runtime.close()
    with pytest.raises(RunFailed, match="expected to be open, found it closed"):
        runtime.run({"X": np.zeros((1, 4), "float32")})


def test_an_unknown_category_is_an_error_of_the_callers_value(tmp_path):
    from sklearn.preprocessing import OneHotEncoder

    import lading

    model = OneHotEncoder(sparse_output=False).fit([["red"], ["blue"]])
    bundle = lading.pack(
        model,
        name="colours",
        samples=[["red"], ["blue"]],
        owner="t@example.com",
        purpose="x",
        to=tmp_path / "b",
    )
    runtime = load_runtime(bundle, threads=1)
    name = bundle.manifest.signature.inputs[0].name
    shape = (1, *bundle.manifest.signature.inputs[0].shape[1:])
    assert runtime.run({name: np.full(shape, "red", object)})
    with pytest.raises(ValueRefused, match="categories that it was trained with"):
        runtime.run({name: np.full(shape, "green", object)})


def test_an_unknown_operator_is_named(tmp_path):
    shape = [tensor("X")], [tensor("Y")]
    error = open_error(tmp_path, graph([node("Foo", "X", "Y")], *shape))
    assert isinstance(error, OperatorUnsupported)
    assert "Foo" in str(error.found)
    own = graph([node("Foo", "X", "Y", domain="my.own")], *shape, domains={"my.own": 1})
    error = open_error(tmp_path, own)
    assert isinstance(error, OperatorUnsupported)
    assert "my.own:Foo" in str(error.found)


def test_an_operator_without_a_cpu_kernel_is_unsupported(tmp_path):
    model = graph([node("Relu", "X", "Y")], [tensor("X")], [tensor("Y")], opset=3)
    assert isinstance(open_error(tmp_path, model), OperatorUnsupported)


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x08\x08", linear_model()[:-20], linear_model()[:40]])
def test_bytes_that_are_not_a_model_are_refused(tmp_path, data):
    assert isinstance(open_error(tmp_path, data), ModelInvalid)


def test_a_model_with_mismatched_types_is_refused(tmp_path):
    model = graph([node("Relu", "X", "Y")], [tensor("X", "uint8")], [tensor("Y", "uint8")])
    assert isinstance(open_error(tmp_path, model), ModelInvalid)


def test_a_missing_model_file_is_refused(tmp_path):
    with pytest.raises(ModelInvalid, match="expected a file, found none"):
        OnnxRuntime(tmp_path / "model.onnx")


def test_a_sequence_output_is_refused_with_a_hint(tmp_path):
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("X", TensorProto.FLOAT, ["batch"])
    answer = helper.make_tensor_sequence_value_info("Y", TensorProto.FLOAT, None)
    made = helper.make_graph([node("SequenceConstruct", "X", "Y")], "g", [x], [answer])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    error = open_error(tmp_path, model.SerializeToString())
    assert isinstance(error, SignatureMismatch)
    assert error.found == "`seq(tensor(float))` in the model"
    assert "lading pack" in str(error.hint)


def test_external_data_is_loaded_and_refused_when_truncated_or_missing(tmp_path):
    import onnx

    path = tmp_path / "model.onnx"
    weights = {"W": np.arange(4096, dtype="float32").reshape(64, 64)}
    shape = [tensor("X", "float32", "batch", 64)], [tensor("Y", "float32", "batch", 64)]
    model = onnx.load_from_string(graph([node("MatMul", "X W", "Y")], *shape, constants=weights))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    rows = np.eye(64, dtype="float32")
    np.testing.assert_array_equal(OnnxRuntime(path).run({"X": rows})["Y"], weights["W"])
    (tmp_path / "weights.bin").write_bytes(b"short")
    with pytest.raises(ModelInvalid):
        OnnxRuntime(path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelInvalid):
        OnnxRuntime(path)


LOAD_20_TIMES = """
import sys
from pathlib import Path
import numpy as np
from lading.runtime.onnx.session import OnnxRuntime

def resident_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))

def load_and_close():
    runtime = OnnxRuntime(Path(sys.argv[1]), threads=2)
    runtime.run({"X": np.zeros((32, 2000), "float32")})
    held = resident_mb()
    runtime.close()
    return held

load_and_close()
before = resident_mb()
held = [load_and_close() for _ in range(20)]
print(min(held) - before, resident_mb() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_closing_a_model_returns_its_memory(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(linear_model(2000, 2500))  # 20 MB of weights
    command = [sys.executable, "-c", LOAD_20_TIMES, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    held, left = map(float, done.stdout.split())
    assert held > 15
    assert left < 3


CPU_WHILE_IDLE = """
import sys, time
from pathlib import Path
import numpy as np
from lading.runtime.onnx.session import OnnxRuntime

runtime = OnnxRuntime(Path(sys.argv[1]), threads=2)
rows = {"X": np.zeros((64, 2000), "float32")}
runtime.run(rows)
began = time.process_time()
time.sleep(0.3)
print(time.process_time() - began)
"""


@pytest.mark.slow
def test_idle_threads_do_not_spin(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(linear_model(2000, 100))
    done = subprocess.run(
        [sys.executable, "-c", CPU_WHILE_IDLE, str(path)], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 0.02


def threads_of_this_process() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_session_starts_as_many_threads_as_it_was_given(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(linear_model())
    OnnxRuntime(path, threads=1).close()
    before = threads_of_this_process()
    single = OnnxRuntime(path, threads=1)
    assert threads_of_this_process() == before  # runs use the caller's thread
    three = OnnxRuntime(path, threads=3)
    assert threads_of_this_process() == before + 2
    single.close()
    three.close()
    assert threads_of_this_process() == before


MANY_ROWS = """
import sys
from pathlib import Path
import numpy as np
from lading.runtime.onnx.session import OnnxRuntime

def status_mb(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

runtime = OnnxRuntime(Path(sys.argv[1]), divisible=True)
rows = np.random.default_rng(0).standard_normal((256, 256, 64)).astype("float32")
runtime.run({"X": rows[:1]})
before = status_mb("VmRSS")
many = runtime.run({"X": rows})["Y"]
print(status_mb("VmHWM") - before, status_mb("VmRSS") - before)
np.testing.assert_allclose(many[-3:], runtime.run_whole({"X": rows[-3:]})["Y"], rtol=1e-4, atol=1e-4)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_a_run_does_not_grow_with_its_rows_and_is_returned(tmp_path):
    random = np.random.default_rng(0)
    weights = {
        "W": random.standard_normal((64, 2048)).astype("float32"),
        "V": random.standard_normal((2048, 8)).astype("float32"),
    }
    nodes = [node("MatMul", "X W", "a"), node("Relu", "a", "b"), node("MatMul", "b V", "c")]
    nodes.append(node("ReduceMean", "c", "Y", axes=[1], keepdims=0))
    shape = [tensor("X", "float32", "batch", 256, 64)], [tensor("Y", "float32", "batch", 8)]
    path = tmp_path / "model.onnx"
    path.write_bytes(graph(nodes, *shape, constants=weights))
    command = [sys.executable, "-c", MANY_ROWS, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, left = map(float, done.stdout.split())
    # In one run the 256 rows take 512 MB, 2 MB each, and keep them.
    assert peak < 300
    assert left < 60


STATUS = """
import sys
from pathlib import Path
import numpy as np
from lading.runtime.onnx.session import OnnxRuntime

def status_mb(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

def tokens(rows, length):
    return {"ids": np.zeros((rows, length), "int64")}
"""

ONE_LONG_ROW = f"""{STATUS}
runtime = OnnxRuntime(Path(sys.argv[1]), divisible=sys.argv[2] == "divisible")
for _ in range(3):
    runtime.run(tokens(1, 10))
before = status_mb("VmRSS")
runtime.run(tokens(1, 6000))
assert status_mb("VmHWM") - before > 100
print(status_mb("VmRSS") - before)
"""

TOO_LONG_ROW = f"""{STATUS}
from lading.errors import RunTooLarge
from lading.onnx_runtime import limit_memory

limit_memory(200_000_000)
runtime = OnnxRuntime(Path(sys.argv[1]), divisible=True)
runtime.run(tokens(1, 10))
before = status_mb("VmRSS")
for _ in range(3):
    try:
        runtime.run(tokens(1, 9000))
    except RunTooLarge as error:
        print(error.message)
assert status_mb("VmHWM") - before < 200
assert status_mb("VmRSS") - before < 50
# What fits goes on: rows that do not fit together run one by one.
runtime.run(tokens(1, 4000))
assert len(runtime.run(tokens(40, 3000))["y"]) == 40
"""


def attention_at(folder: Path) -> Path:
    path = folder / "attention.onnx"
    path.write_bytes(attention_model())
    return path


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("rows", ["divisible", "together"])
def test_what_one_far_longer_row_took_is_returned(tmp_path, rows):
    command = [sys.executable, "-c", ONE_LONG_ROW, str(attention_at(tmp_path)), rows]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 30


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_run_above_the_limit_of_memory_is_refused_and_the_next_one_goes_on(tmp_path):
    command = [sys.executable, "-c", TOO_LONG_ROW, str(attention_at(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sentences = done.stdout.splitlines()
    assert len(sentences) == 3
    for sentence in sentences:
        assert re.fullmatch(
            r"the run of this request: expected to fit into the memory for models, \d+ MB of which are left, "
            r"found 324 MB needed at once",
            sentence,
        )
