"""One loaded model: dtypes, refusals, external data, memory, threads; and the CPUs of a cgroup."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lading.errors import (
    LadingError,
    ModelInvalid,
    OperatorUnsupported,
    RunFailed,
    SignatureMismatch,
    ValueRefused,
)
from lading.runtime import check_signature, cpu_limit, load_runtime
from lading.runtime.host.fingerprint import fingerprint
from lading.runtime.onnx.error_text import sentence
from lading.runtime.onnx.opsets import model_versions, supported_ir, supported_opset
from lading.runtime.onnx.session import OnnxRuntime, check_versions, probe
from lading.signature import DTYPES, Signature
from support.bundles import linear_bundle, linear_model
from support.onnx_graphs import bundle_of, graph, identity, node, tensor


def opened(folder: Path, model: bytes) -> OnnxRuntime:
    path = folder / "model.onnx"
    path.write_bytes(model)
    return OnnxRuntime(path)


def refused(folder: Path, model: bytes) -> LadingError:
    with pytest.raises(LadingError) as caught:
        opened(folder, model)
    assert "\n" not in caught.value.message
    assert "onnxruntime::" not in caught.value.message
    assert str(folder) not in caught.value.message
    return caught.value


# Running.


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
def test_every_dtype_goes_in_and_comes_out_as_it_is(tmp_path, dtype):
    runtime = opened(tmp_path, identity(dtype))
    assert runtime.inputs == (tensor("X", dtype),)
    assert runtime.outputs == (tensor("Y", dtype),)
    values = values_of(dtype)
    found = runtime.run({"X": values})["Y"]
    assert found.dtype == values.dtype
    assert found.tolist() == values.tolist() or np.array_equal(found, values, equal_nan=True)


def test_strings_come_out_as_an_object_array_of_str(tmp_path):
    found = opened(tmp_path, identity("string")).run({"X": np.array(["a", "b"], dtype=object)})["Y"]
    assert found.dtype == object
    assert {type(text) for text in found} == {str}


def test_outputs_are_all_or_those_that_were_asked_for(tmp_path):
    runtime = opened(tmp_path, linear_model())
    rows = {"X": np.zeros((2, 4), "float32")}
    assert list(runtime.run(rows)) == ["label", "probabilities"]
    assert list(runtime.run(rows, ["probabilities"])) == ["probabilities"]


@pytest.mark.parametrize("rows", [1, 2, 33, 1000])
def test_every_row_of_any_batch_gets_its_answer(tmp_path, rows):
    runtime = opened(tmp_path, linear_model())
    values = np.random.default_rng(1).uniform(size=(rows, 4)).astype("float32")
    many = runtime.run({"X": values})
    assert len(many["label"]) == rows
    last = runtime.run({"X": values[-1:]})
    np.testing.assert_allclose(last["probabilities"][0], many["probabilities"][-1], rtol=1e-5)


def test_arrays_of_any_memory_layout_are_read_right(tmp_path):
    runtime = opened(tmp_path, identity("float32", "batch", 4))
    values = np.arange(16, dtype="float32").reshape(4, 4)
    for view in (values.T, values[::2], values[:, ::-1], np.asfortranarray(values)):
        np.testing.assert_array_equal(runtime.run({"X": view})["Y"], view)


def test_a_model_that_takes_no_batch_runs_as_it_is(tmp_path):
    total = graph(
        [node("ReduceSum", "X", "Y", keepdims=0)], [tensor("X", "float32", 2, 3)], [tensor("Y", "float32", 1)]
    )
    runtime = opened(tmp_path, total)
    assert runtime.run({"X": np.ones((2, 3), "float32")})["Y"] == 6


def test_an_open_size_without_a_name_is_a_question_mark(tmp_path):
    from onnx import TensorProto, helper

    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 4]) for name in ("X", "Y")]
    made = helper.make_graph([node("Relu", "X", "Y")], "g", info[:1], info[1:])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert opened(tmp_path, model.SerializeToString()).inputs[0].shape == ("?", 4)


def test_a_run_that_fails_is_one_sentence_and_the_next_one_works(tmp_path):
    table = {"D": np.array([1, 2, 3], "float32")}
    pick = graph([node("Gather", "D I", "Y")], [tensor("I", "int64")], [tensor("Y")], constants=table)
    runtime = opened(tmp_path, pick)
    with pytest.raises(RunFailed) as caught:
        runtime.run({"I": np.array([5])})
    assert "Gather node: indices element out of data bounds" in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert runtime.run({"I": np.array([2])})["Y"].tolist() == [3]


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
def test_whatever_is_given_only_our_error_comes_out(tmp_path, inputs):
    with pytest.raises(RunFailed) as caught:
        opened(tmp_path, linear_model()).run(inputs)
    assert "\n" not in str(caught.value)


def test_nothing_is_said_on_the_terminal_when_a_run_or_a_load_fails(tmp_path, capfd):
    table = {"D": np.array([1.0], "float32")}
    pick = graph([node("Gather", "D I", "Y")], [tensor("I", "int64")], [tensor("Y")], constants=table)
    with pytest.raises(RunFailed):
        opened(tmp_path, pick).run({"I": np.array([9])})
    refused(tmp_path, identity(opset=99))
    opened(tmp_path, identity(opset=6)).close()
    assert capfd.readouterr() == ("", "")


def test_several_threads_run_one_model_at_once(tmp_path):
    runtime = opened(tmp_path, linear_model())
    values = np.random.default_rng(2).uniform(size=(8, 4)).astype("float32")
    expected = runtime.run({"X": values})["probabilities"]

    def asks() -> bool:
        answers = (runtime.run({"X": values})["probabilities"] for _ in range(200))
        return all(np.array_equal(answer, expected) for answer in answers)

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(asks) for _ in range(4)]
    assert [one.result() for one in asked] == [True] * 4


def test_a_closed_model_says_that_it_is_closed(tmp_path):
    runtime = opened(tmp_path, linear_model())
    runtime.close()
    runtime.close()
    with pytest.raises(RunFailed, match="expected to be open, found it closed"):
        runtime.run({"X": np.zeros((1, 4), "float32")})


# Refusing.


def test_a_newer_opset_is_refused_with_both_numbers(tmp_path):
    limit = supported_opset("ai.onnx", probe)
    error = refused(tmp_path, identity(opset=99))
    assert isinstance(error, OperatorUnsupported)
    assert error.message == f"opset of `ai.onnx` in `model.onnx`: expected at most {limit}, found 99"


def test_a_newer_opset_of_another_domain_is_refused_with_both_numbers(tmp_path):
    limit = supported_opset("ai.onnx.ml", probe)
    error = refused(tmp_path, identity(domains={"ai.onnx.ml": 77}))
    assert isinstance(error, OperatorUnsupported)
    assert error.message == f"opset of `ai.onnx.ml` in `model.onnx`: expected at most {limit}, found 77"


def test_a_newer_ir_is_refused_with_both_numbers(tmp_path):
    error = refused(tmp_path, identity(ir=99))
    assert isinstance(error, OperatorUnsupported)
    assert error.message == f"IR version of `model.onnx`: expected at most {supported_ir(probe)}, found 99"


def test_onnx_runtime_says_what_it_reads():
    # Both are asked of it with models that are too new; if its words change, this shows it.
    assert supported_ir(probe) >= 10
    assert supported_opset("ai.onnx", probe) >= 20
    assert supported_opset("ai.onnx.ml", probe) >= 3


def test_the_newest_versions_that_it_says_it_reads_do_load(tmp_path):
    newest = {"opset": supported_opset("ai.onnx", probe), "ir": supported_ir(probe)}
    assert opened(tmp_path, identity(**newest)).outputs[0].name == "Y"


def test_an_unknown_operator_is_named(tmp_path):
    shape = [tensor("X")], [tensor("Y")]
    error = refused(tmp_path, graph([node("Foo", "X", "Y")], *shape))
    assert isinstance(error, OperatorUnsupported)
    assert "Foo" in str(error.found)
    own = graph([node("Foo", "X", "Y", domain="my.own")], *shape, domains={"my.own": 1})
    error = refused(tmp_path, own)
    assert isinstance(error, OperatorUnsupported)
    assert "my.own:Foo" in str(error.found)


def test_an_operator_without_a_kernel_here_is_unsupported(tmp_path):
    model = graph([node("Relu", "X", "Y")], [tensor("X")], [tensor("Y")], opset=3)
    assert isinstance(refused(tmp_path, model), OperatorUnsupported)


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x08\x08", linear_model()[:-20], linear_model()[:40]])
def test_bytes_that_are_no_model_are_refused(tmp_path, data):
    assert isinstance(refused(tmp_path, data), ModelInvalid)


def test_a_model_of_wrong_types_is_refused(tmp_path):
    model = graph([node("Relu", "X", "Y")], [tensor("X", "uint8")], [tensor("Y", "uint8")])
    assert isinstance(refused(tmp_path, model), ModelInvalid)


def test_a_model_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ModelInvalid, match="expected a file, found none"):
        OnnxRuntime(tmp_path / "model.onnx")


def test_a_sequence_output_is_refused_with_a_hint(tmp_path):
    from onnx import TensorProto, helper

    given = helper.make_tensor_value_info("X", TensorProto.FLOAT, ["batch"])
    answer = helper.make_tensor_sequence_value_info("Y", TensorProto.FLOAT, None)
    made = helper.make_graph([node("SequenceConstruct", "X", "Y")], "g", [given], [answer])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    error = refused(tmp_path, model.SerializeToString())
    assert isinstance(error, SignatureMismatch)
    assert error.found == "`seq(tensor(float))` in the model"
    assert "lading pack" in str(error.hint)


def test_versions_are_read_from_the_file_and_shown(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(identity(opset=15, ir=7, domains={"ai.onnx.ml": 3}))
    versions = model_versions(path)
    assert (versions.ir, versions.opsets) == (7, {"ai.onnx": 15, "ai.onnx.ml": 3})
    assert check_versions(path).startswith("IR 7, ai.onnx 15, ai.onnx.ml 3; ONNX Runtime ")


# Signature.


def test_a_bundle_whose_signature_is_the_models_loads(tmp_path):
    runtime = load_runtime(linear_bundle(tmp_path / "b"))
    assert [one.name for one in runtime.outputs] == ["label", "probabilities"]


@pytest.mark.parametrize(
    ("inputs", "outputs", "found"),
    [
        ([tensor("Z", "float32", "batch", 4)], None, "`X` in the model"),
        ([tensor("X", "float64", "batch", 4)], None, "`float32 [batch, 4]` in the model"),
        ([tensor("X", "float32", "batch", 5)], None, "`float32 [batch, 4]` in the model"),
        ([tensor("X", "float32", "batch")], None, "`float32 [batch, 4]` in the model"),
        ([tensor("X", "float32", "batch", "features")], None, "`float32 [batch, 4]` in the model"),
        (None, [tensor("Y", "int64", "batch", 4)], "`float32 [batch, 4]` in the model"),
        (None, [tensor("Y", "float32", "batch", 3)], "`float32 [batch, 4]` in the model"),
        (None, [tensor("Y", "float32", "batch", 4), tensor("Z")], "`Y` in the model"),
    ],
)
def test_a_signature_that_is_not_the_models_is_refused(tmp_path, inputs, outputs, found):
    runtime = opened(tmp_path, identity("float32", "batch", 4))
    signature = Signature(tuple(inputs or runtime.inputs), tuple(outputs or runtime.outputs))
    with pytest.raises(SignatureMismatch) as caught:
        check_signature(signature, runtime.inputs, runtime.outputs)
    assert caught.value.found == found


def test_a_signature_may_be_narrower_than_the_model():
    model = [tensor("X", "float32", "rows", "?")]
    check_signature(Signature((tensor("X", "float32", "batch", 4),), ()), model, [])
    check_signature(Signature((tensor("X", "float32", 1, 4),), ()), model, [])


def test_an_output_that_the_model_wrongly_declares_fixed_may_be_a_batch():
    # LightGBM's converter declares its label as {1}; ONNX Runtime answers any batch all the same.
    label = tensor("label", "int64", "batch")
    check_signature(Signature((), (label,)), [], [tensor("label", "int64", 1)])


def test_a_mismatch_closes_the_session_and_names_the_bundle_nowhere_else(tmp_path):
    model = identity("float32", "batch", 4)
    wide = Signature((tensor("X", "float32", "batch", 4),), (tensor("Y", "float32", "batch", 4),))
    narrow = Signature((tensor("X", "float32", "batch", 4),), (tensor("Y", "float64", "batch", 4),))
    rows = {"X": np.zeros((2, 4), "float32")}
    load_runtime(bundle_of(tmp_path / "good", model, wide, rows)).close()
    bad = bundle_of(tmp_path / "bad", model, narrow, rows, outputs={"Y": np.zeros((2, 4))})
    with pytest.raises(SignatureMismatch, match="output `Y`"):
        load_runtime(bad)


# External data.


def test_a_model_with_external_data_loads_and_says_when_it_is_gone(tmp_path):
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


# Memory and threads.

LOAD_20_TIMES = """
import sys
from pathlib import Path
import numpy as np
from lading.runtime.onnx.session import OnnxRuntime

def resident_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))

def once():
    runtime = OnnxRuntime(Path(sys.argv[1]), threads=2)
    runtime.run({"X": np.zeros((32, 2000), "float32")})
    held = resident_mb()
    runtime.close()
    return held

once()
before = resident_mb()
held = [once() for _ in range(20)]
print(min(held) - before, resident_mb() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_given_back_when_a_model_is_closed(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(linear_model(2000, 2500))  # 20 MB of weights
    command = [sys.executable, "-c", LOAD_20_TIMES, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    held, left = map(float, done.stdout.split())
    assert held > 15
    assert left < 3


BURN = """
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


def test_threads_do_not_spin_when_there_is_nothing_to_do(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(linear_model(2000, 100))
    done = subprocess.run([sys.executable, "-c", BURN, str(path)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.02


def threads_of_this_process() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_session_has_the_threads_it_was_given_and_no_more(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(linear_model())
    OnnxRuntime(path, threads=1).close()
    before = threads_of_this_process()
    one = OnnxRuntime(path, threads=1)
    assert threads_of_this_process() == before  # the caller's thread is the one
    three = OnnxRuntime(path, threads=3)
    assert threads_of_this_process() == before + 2
    one.close()
    three.close()
    assert threads_of_this_process() == before


# CPUs. The trees below are what /proc and /sys say in real containers, with the mounts moved to a folder.


def machine(folder: Path, groups: str, mounts: list[str], files: dict[str, str]) -> Path:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    (folder / "cgroup").write_text(groups)
    (folder / "mountinfo").write_text("".join(line.replace("MNT", f"{folder}/sys") for line in mounts))
    return folder


V2 = "29 23 0:26 / MNT rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "32 31 0:29 / MNT/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("250000 100000", 2),
        ("50000 100000", 1),
        ("1000 100000", 1),
        ("9900000 100000", 8),
    ],
)
def test_a_cgroup_v2_quota_limits_the_cpus(tmp_path, quota, cpus):
    proc = machine(tmp_path, "0::/\n", [V2], {"sys/cpu.max": f"{quota}\n"})
    assert cpu_limit(proc, available=8) == cpus


def test_the_smallest_quota_of_the_groups_above_counts(tmp_path):
    files = {"sys/pod/cpu.max": "300000 100000\n", "sys/pod/one/cpu.max": "max 100000\n"}
    proc = machine(tmp_path, "0::/pod/one\n", [V2], files)
    assert cpu_limit(proc, available=8) == 3


@pytest.mark.parametrize(("quota", "cpus"), [("-1", 8), ("200000", 2), ("150000", 1), ("0", 8)])
def test_a_cgroup_v1_quota_limits_the_cpus(tmp_path, quota, cpus):
    at = "sys/cpu,cpuacct/kubepods/pod1"
    files = {f"{at}/cpu.cfs_quota_us": f"{quota}\n", f"{at}/cpu.cfs_period_us": "100000\n"}
    groups = "5:cpu,cpuacct:/kubepods/pod1\n1:name=systemd:/init\n0::/\n"
    assert cpu_limit(machine(tmp_path, groups, [V1], files), available=8) == cpus


def test_a_container_that_shares_the_hosts_cgroup_names_finds_its_quota(tmp_path):
    # Docker on cgroup v1: the path is the host's, but the mount shows the container's own group only.
    mount = V1.replace(" / ", " /docker/abc ")
    files = {"sys/cpu,cpuacct/cpu.cfs_quota_us": "300000\n", "sys/cpu,cpuacct/cpu.cfs_period_us": "100000\n"}
    proc = machine(tmp_path, "4:cpu,cpuacct:/docker/abc\n", [mount], files)
    assert cpu_limit(proc, available=8) == 3
    elsewhere = machine(tmp_path, "4:cpu,cpuacct:/docker/other\n", [mount], files)
    assert cpu_limit(elsewhere, available=8) == 3


def test_without_cgroups_the_affinity_counts(tmp_path):
    assert cpu_limit(tmp_path, available=5) == 5
    assert cpu_limit(tmp_path, available=0) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="affinity")
def test_the_affinity_of_this_process_counts(tmp_path):
    code = "import os; os.sched_setaffinity(0, {0}); from lading.runtime import cpu_limit; print(cpu_limit())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


# Fingerprint and words.


def test_a_fingerprint_says_what_runs_here_and_not_where(tmp_path):
    one = fingerprint({})
    assert (one.numpy, one.image) == (np.__version__, None)
    assert one.onnxruntime[0].isdigit()
    assert one.id == fingerprint({}).id
    assert fingerprint({"LADING_IMAGE": "sha256:12"}).id != one.id


def test_importing_the_runtime_does_not_import_onnx_runtime():
    code = "import sys, lading.runtime, lading.runtime.onnx.session; print('onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


RESHAPE = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Reshape node. Name:'' "
    "Status Message: /onnxruntime_src/onnxruntime/core/providers/cpu/tensor/reshape_helper.h:91 "
    "onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, "
    "onnxruntime::TensorShapeVector&, bool) input_shape_size == requested_shape_size was false. "
    "The input tensor cannot be reshaped. Input shape:{2,4}\n"
)


@pytest.mark.parametrize(
    ("said", "sentence_of_ours"),
    [
        (
            RESHAPE,
            "Reshape node: The input tensor cannot be reshaped. Input shape:{2,4}",
        ),
        ("[ONNXRuntimeError] : 3 : NO_SUCHFILE : Load model from /a/m.onnx failed:No graph.", "No graph"),
        ("plain words\nStacktrace:\n0# main in a.out", "plain words"),
        ("", "ValueError"),
        ("x" * 500, "x" * 400 + "…"),
    ],
)
def test_a_message_of_onnx_runtime_becomes_one_clean_sentence(said, sentence_of_ours):
    assert sentence(ValueError(said)) == sentence_of_ours


def test_runs_through_bound_buffers_answer_as_runs_without(tmp_path):
    runtime = opened(tmp_path, linear_model())
    random = np.random.default_rng(7)
    for rows in (1, 2, 8, 9):
        inputs = [{"X": random.standard_normal((rows, 4)).astype(np.float32)} for _ in range(4)]
        plain = [runtime.run(one, ["probabilities"]) for one in inputs]  # A list of names is never bound.
        bound = [runtime.run(one, ("probabilities",)) for one in inputs]
        for one, other in zip(plain, bound, strict=True):
            np.testing.assert_array_equal(one["probabilities"], other["probabilities"])


def test_a_bound_buffer_takes_no_array_of_another_form(tmp_path):
    runtime = opened(tmp_path, linear_model())
    good = {"X": np.ones((1, 4), np.float32)}
    runtime.run(good, ("label",))
    for wrong in (np.ones((1, 1), np.float32), np.ones((1, 4), np.float64), np.ones((4,), np.float32)):
        with pytest.raises(RunFailed):
            runtime.run({"X": wrong}, ("label",))


def test_threads_share_the_bound_buffers_without_mixing_answers(tmp_path):
    runtime = opened(tmp_path, linear_model())
    inputs = [{"X": np.full((1, 4), at, np.float32)} for at in range(8)]
    expected = [runtime.run(one, ["probabilities"])["probabilities"] for one in inputs]
    wrong: list[int] = []

    def ask(at: int) -> None:
        for _ in range(300):
            found = runtime.run(inputs[at], ("probabilities",))["probabilities"]
            if not np.array_equal(found, expected[at]):
                wrong.append(at)

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []


def test_outputs_whose_size_depends_on_values_are_never_bound_wrongly(tmp_path):
    # How many values are kept is known only when it has run; the first run has as many as rows.
    inputs, outputs = [tensor("X", "float32", "batch")], [tensor("Y", "float32", "batch")]
    nodes = [
        node("Greater", "X zero", "kept"),
        node("Compress", "X kept", "Y", axis=0),
    ]
    model = graph(nodes, inputs, outputs, constants={"zero": np.zeros((), np.float32)})
    runtime = opened(tmp_path, model)
    for values in ([1.0, 2.0], [3.0, -1.0], [-1.0, -1.0], [5.0, 6.0]):
        found = runtime.run({"X": np.array(values, np.float32)}, ("Y",))["Y"]
        assert found.tolist() == [one for one in values if one > 0]


def test_a_category_that_the_model_does_not_know_is_the_callers_value(tmp_path):
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
