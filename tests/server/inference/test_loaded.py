"""What requests read of a loaded model."""

from __future__ import annotations

from dataclasses import replace

import httpx
import numpy as np
import pytest

from lading.errors import ShapeRefused
from lading.runtime.open import load_runtime
from lading.server.inference.loaded import Cost, LoadedModel
from lading.signature import Signature
from support.bundles import IRIS, linear_bundle
from support.crashing_models import sequence_bundle
from support.hosted_app import served_from
from support.onnx_graphs import bundle_of, identity, tensor
from support.server_process import serving

NOTHING = np.ones((0, 1, 2), "float32")


@pytest.fixture
def model(tmp_path) -> LoadedModel:
    bundle = linear_bundle(tmp_path / "iris")
    return LoadedModel.of(bundle, load_runtime(bundle, threads=1), "iris:3")


def test_a_model_has_the_signature_labels_and_samples_of_its_bundle(model):
    assert model.signature == model.bundle.manifest.signature
    assert tuple(model.labels.values()) == IRIS
    assert model.samples.rows == 16


def test_answers_name_the_bundle_over_http_and_grpc_alike(model):
    digest = model.bundle.digest
    assert model.headers == ((b"x-lading-model", b"iris:3"), (b"x-lading-digest", digest.encode()))
    assert model.header_block == f"x-lading-model: iris:3\r\nx-lading-digest: {digest}\r\n".encode()
    assert model.metadata == (("x-lading-model", "iris:3"), ("x-lading-digest", digest))


def test_plans_of_protocols_outlive_a_new_measure_of_the_cost(model):
    model.plans["protocol"] = "plan"
    assert replace(model, cost=Cost(1.0, 0.1)).plans == {"protocol": "plan"}


def test_the_cost_of_a_run_grows_with_its_rows():
    cost = Cost(first_row_s=1.0, further_row_s=0.25)
    assert [cost.of(rows) for rows in (1, 2, 5)] == [1.0, 1.25, 2.0]


@pytest.mark.slow
def test_an_empty_input_that_ends_onnx_runtime_is_refused_and_the_server_goes_on(tmp_path):
    bundle = sequence_bundle(tmp_path / "b")
    environ = {"LADING_CACHE": str(tmp_path / "cache")}
    with serving(bundle.path, environ=environ) as server:
        tensor_in = {"name": "X", "datatype": "FP32", "shape": [0, 1, 2], "data": []}
        answer = httpx.post(f"{server.url}/v2/models/iris/infer", json={"inputs": [tensor_in]})
        assert answer.status_code == 400
        assert "expected at least one value, found shape `[0, 1, 2]`" in answer.text
        good = {**tensor_in, "shape": [2, 1, 2], "data": [1, 2, 3, 4]}
        answer = httpx.post(f"{server.url}/v2/models/iris/infer", json={"inputs": [good]})
        assert answer.status_code == 200
        assert server.stop() == 0


def test_an_empty_input_is_answered_where_a_golden_sample_is_empty(tmp_path):
    shape = tensor("X", "float32", "steps", 1, 2), tensor("Y", "float32", "steps", 1, 2)
    model = identity("float32", "steps", 1, 2)
    for name, golden in (("full", np.ones((3, 1, 2), "float32")), ("empty", NOTHING)):
        bundle = bundle_of(tmp_path / name, model, Signature((shape[0],), (shape[1],)), {"X": golden})
        served = served_from(bundle)
        if name == "empty":
            assert served.run({"X": NOTHING})["Y"].shape == (0, 1, 2)
        else:
            with pytest.raises(ShapeRefused, match="expected at least one value"):
                served.run({"X": NOTHING})


def test_nothing_is_looked_at_where_only_the_number_of_rows_is_open(tmp_path):
    assert served_from(linear_bundle(tmp_path / "b")).model.never_empty == ()
