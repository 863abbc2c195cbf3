"""Steps in a process around an ONNX model in this one: what passes between them, and how they end."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from lading.errors import ModelCodeFailed, ModelOutputInvalid, RunFailed, ShapeRefused, ValueRefused
from lading.runtime.onnx.session import OnnxRuntime
from lading.runtime.python.session import PythonRuntime
from lading.runtime.python.steps import SteppedRuntime, core_inputs
from lading.signature import USUAL_BOUND, Signature
from support.model_code import X, model_code, tensor
from support.onnx_graphs import graph, node
from support.waiting import wait_until

STEPS = """
    import time

    import numpy as np
    import lading

    class M(lading.Model):
        def preprocess(self, inputs):
            x = inputs["x"]
            if x[0, 0] == -1:
                raise ValueError("a row of minus one")
            if x[0, 0] == -2:
                return {"pixels": x[:, :2]}
            if x[0, 0] == -3:
                return {"pixels": x[:1]}
            if x[0, 0] == -4:
                time.sleep(60)
            with np.errstate(all="ignore"):
                return {"pixels": np.log(x) if x[0, 0] == -5 else x + 1}

        def postprocess(self, outputs):
            return {"y": outputs["doubled"] - 2, "large": outputs["doubled"].sum(axis=1) > 30}
"""


@pytest.fixture
def stepped(tmp_path):
    """Return a function that opens the steps around a model that doubles; all are closed in the end."""
    runtimes = []

    def open_runtime(*steps: str, source: str = STEPS) -> SteppedRuntime:
        path = tmp_path / "model.onnx"
        path.write_bytes(
            graph(
                [node("Add", "pixels pixels", "doubled")],
                [tensor("pixels", "N", 4)],
                [tensor("doubled", "N", 4)],
            )
        )
        core = OnnxRuntime(path)
        whole = Signature((tensor("x"),), (tensor("y"), tensor("large", "batch", dtype="bool")))
        settings = model_code(
            tmp_path,
            source,
            steps=steps or ("preprocess", "postprocess"),
            inputs=whole.inputs,
            outputs=whole.outputs,
            preprocessed=core_inputs(core.inputs),
        )
        runtimes.append(SteppedRuntime(PythonRuntime(settings), core, whole))
        return runtimes[-1]

    yield open_runtime
    for runtime in runtimes:
        runtime.close()


def test_a_request_passes_through_the_steps_and_the_model_between_them(stepped):
    runtime = stepped()
    assert [tensor.name for tensor in runtime.inputs] == ["x"]
    assert [tensor.name for tensor in runtime.outputs] == ["y", "large"]
    answers = runtime.run({"x": X})
    np.testing.assert_array_equal(answers["y"], 2 * X)
    np.testing.assert_array_equal(answers["large"], [False, True])
    assert [*runtime.run({"x": X}, ["large"])] == ["large"]
    np.testing.assert_array_equal(runtime.run_whole({"x": X})["y"], 2 * X)


def test_without_a_step_after_it_the_model_s_own_outputs_are_the_answer(stepped):
    source = STEPS.partition("        def postprocess")[0]
    runtime = stepped("preprocess", source=source)
    assert [str(tensor) for tensor in runtime.outputs] == ["float32 [N, 4]"]
    np.testing.assert_array_equal(runtime.run({"x": X}, ["doubled"])["doubled"], 2 * X + 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "kind", "sentence"),
    [
        (-1, ModelCodeFailed, "a row of minus one"),
        (-2, ModelOutputInvalid, r"output `pixels` of `churn`: expected shape `\[2, 4\]`, found `\[2, 2\]`"),
        (-3, ModelOutputInvalid, r"output `pixels` of `churn`: expected shape `\[2, 4\]`, found `\[1, 4\]`"),
        (-5, ValueRefused, "what `preprocess` makes of this request, input `pixels`: .*, found NaN"),
    ],
)
def test_what_goes_wrong_between_the_steps_has_the_error_of_its_side(stepped, first, kind, sentence):
    runtime, rows = stepped(), X.copy()
    rows[0, 0] = first
    with pytest.raises(kind, match=sentence):
        runtime.run({"x": rows})
    np.testing.assert_array_equal(runtime.run({"x": X})["y"], 2 * X)


@pytest.mark.slow
def test_a_step_that_hangs_is_terminated_and_the_next_request_answered(stepped):
    runtime, rows, errors = stepped(), X.copy(), []
    rows[0, 0] = -4

    def run() -> None:
        try:
            runtime.run({"x": rows})
        except RunFailed as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: runtime.python.busy_processes)
    runtime.terminate()
    thread.join(10)
    assert "none, so it was ended" in str(errors[0])
    np.testing.assert_array_equal(runtime.run({"x": X})["y"], 2 * X)


def test_closing_twice_ends_the_processes_and_the_model(stepped):
    runtime = stepped()
    runtime.close()
    runtime.close()
    assert runtime.python.pids == []
    with pytest.raises(RunFailed, match="closed"):
        runtime.core.run({"pixels": X})


def test_a_model_between_steps_takes_as_many_rows_as_the_request_and_no_value_that_was_not_proved():
    wide, fixed = core_inputs([tensor("a", "N", "?"), tensor("b", 1, 4, dtype="int64")])
    assert (str(wide), wide.bound, wide.allows_nan) == ("float32 [batch, ?]", USUAL_BOUND, False)
    assert str(fixed) == "int64 [1, 4]"
    with pytest.raises(ShapeRefused):
        Signature((fixed,), ()).cast({"b": np.zeros((2, 4), np.int64)})
