"""Runs through bound buffers: the same answers, from any number of threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from lading.errors import RunFailed
from support.bundles import linear_model
from support.onnx_graphs import graph, node, tensor
from support.onnx_sessions import open_session


def test_bound_runs_answer_as_unbound_runs(tmp_path):
    runtime = open_session(tmp_path, linear_model())
    random = np.random.default_rng(7)
    for rows in (1, 2, 8, 9):
        inputs = [{"X": random.standard_normal((rows, 4)).astype(np.float32)} for _ in range(4)]
        plain = [
            runtime.run(arrays, ["probabilities"]) for arrays in inputs
        ]  # A list of names is never bound.
        bound = [runtime.run(arrays, ("probabilities",)) for arrays in inputs]
        for expected, answer in zip(plain, bound, strict=True):
            np.testing.assert_array_equal(expected["probabilities"], answer["probabilities"])


def test_arrays_of_another_shape_or_dtype_are_refused_as_without_a_binding(tmp_path):
    runtime = open_session(tmp_path, linear_model())
    good = {"X": np.ones((1, 4), np.float32)}
    runtime.run(good, ("label",))
    for wrong in (np.ones((1, 1), np.float32), np.ones((1, 4), np.float64), np.ones((4,), np.float32)):
        with pytest.raises(RunFailed):
            runtime.run({"X": wrong}, ("label",))


def test_threads_share_bindings_without_mixing_answers(tmp_path):
    runtime = open_session(tmp_path, linear_model())
    inputs = [{"X": np.full((1, 4), index, np.float32)} for index in range(8)]
    expected = [runtime.run(arrays, ["probabilities"])["probabilities"] for arrays in inputs]
    wrong: list[int] = []

    def ask(index: int) -> None:
        for _ in range(300):
            answer = runtime.run(inputs[index], ("probabilities",))["probabilities"]
            if not np.array_equal(answer, expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_outputs_whose_size_depends_on_values_are_right_in_every_run(tmp_path):
    # How many values are kept is known only after a run; the first run keeps all of them.
    inputs, outputs = [tensor("X", "float32", "batch")], [tensor("Y", "float32", "batch")]
    nodes = [
        node("Greater", "X zero", "kept"),
        node("Compress", "X kept", "Y", axis=0),
    ]
    model = graph(nodes, inputs, outputs, constants={"zero": np.zeros((), np.float32)})
    runtime = open_session(tmp_path, model)
    for values in ([1.0, 2.0], [3.0, -1.0], [-1.0, -1.0], [5.0, 6.0]):
        kept = runtime.run({"X": np.array(values, np.float32)}, ("Y",))["Y"]
        assert kept.tolist() == [value for value in values if value > 0]
