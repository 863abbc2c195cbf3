"""A missing value is taken in the columns that may be missing, and refused in others, by every protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from lading.pack import pack
from support.grpc_client import ask, grpc_serving
from support.hosted_app import AppClient, hosted, served_from
from support.tensorflow_serving import message, put_tensor

NAN = float("nan")
HEAD = {"name": "X", "datatype": "FP32", "shape": [1, 2]}


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> AppClient:
    """Host a model whose column `a` may be missing and whose column `b` may not."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=100), "b": random.normal(size=100)})
    target = (frame["a"] + frame["b"] > 0).astype(int)
    frame.loc[::7, "a"] = np.nan
    columns = ColumnTransformer([("fill", SimpleImputer(), ["a"]), ("keep", "passthrough", ["b"])])
    model = make_pipeline(columns, LogisticRegression()).fit(frame, target)
    bundle = pack(model, name="m", samples=frame, owner="a@b.c", to=tmp_path_factory.mktemp("gaps") / "b")
    return hosted(served_from(bundle), vertex_predict_route="/vertex")


def text(value: float, missing: str) -> str:
    return missing if np.isnan(value) else str(value)


BODIES = {
    "native lists": ("/predict", lambda a, b: f'{{"data":[[{a},{b}]]}}', "null"),
    "native objects": ("/predict", lambda a, b: f'{{"data":[{{"b":{b},"a":{a}}}]}}', "null"),
    "native whole": ("/predict", lambda a, b: f'{{"data":{{"X":[[{a},{b}]]}}}}', "null"),
    "MLflow records": (
        "/invocations",
        lambda a, b: f'{{"dataframe_records":[{{"a":{a},"b":{b}}}]}}',
        "null",
    ),
    "MLflow split": (
        "/invocations",
        lambda a, b: f'{{"dataframe_split":{{"columns":["b","a"],"data":[[{b},{a}]]}}}}',
        "null",
    ),
    "MLflow inputs": ("/invocations", lambda a, b: f'{{"inputs":[[{a},{b}]]}}', "null"),
    "Vertex AI": ("/vertex", lambda a, b: f'{{"instances":[[{a},{b}]]}}', "null"),
    "Open Inference": (
        "/v2/models/m/infer",
        lambda a, b: f'{{"inputs":[{{"name":"X","datatype":"FP32","shape":[1,2],"data":[[{a},{b}]]}}]}}',
        "NaN",
    ),
    "Open Inference, flat": (
        "/v2/models/m/infer",
        lambda a, b: f'{{"inputs":[{{"name":"X","datatype":"FP32","shape":[1,2],"data":[{a},{b}]}}]}}',
        "null",
    ),
    "TensorFlow Serving rows": (
        "/v1/models/m:predict",
        lambda a, b: f'{{"instances":[[{a},{b}]]}}',
        "NaN",
    ),
    "TensorFlow Serving inputs": (
        "/v1/models/m:predict",
        lambda a, b: f'{{"inputs":[[{a},{b}]]}}',
        "null",
    ),
    "TensorFlow Serving examples": (
        "/v1/models/m:classify",
        lambda a, b: f'{{"examples":[{{"a":{a},"b":{b}}}]}}',
        "NaN",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("form", BODIES)
def test_json_may_miss_a_value_only_where_the_model_does(client, form):
    path, body, missing = BODIES[form]

    def ask_for(a: float, b: float) -> Any:
        content = body(text(a, missing), text(b, missing))
        return client.post(path, content=content, headers={"content-type": "application/json"})

    whole = ask_for(0.5, 1)
    assert whole.status_code == 200, whole.text
    assert ask_for(NAN, 1).status_code == 200
    refused = ask_for(0.5, NAN)
    assert refused.status_code in (400, 422), refused.text


@pytest.mark.slow
def test_csv_may_miss_a_value_only_where_the_model_does(client):
    statuses = [
        client.post("/invocations", content=line, headers={"content-type": "text/csv"}).status_code
        for line in (b"0.5,1", b",1", b"0.5,")
    ]
    assert statuses[:2] == [200, 200]
    assert statuses[2] in (400, 422)


@pytest.fixture(scope="module")
def channel(client) -> Iterator[grpc.Channel]:
    with grpc_serving(client.app.plane) as (opened, _):
        yield opened


@pytest.mark.slow
@pytest.mark.parametrize("form", ["raw", "typed", "TensorFlow Serving"])
def test_grpc_may_miss_a_value_only_where_the_model_does(channel, form):
    def ask_for(a: float, b: float) -> None:
        array = np.array([[a, b]], np.float32)
        if form == "raw":
            ask(channel, "ModelInfer", model_name="m", inputs=[HEAD], raw_input_contents=[array.tobytes()])
        elif form == "typed":
            contents = {"fp32_contents": [a, b]}
            ask(channel, "ModelInfer", model_name="m", inputs=[{**HEAD, "contents": contents}])
        else:
            request = message("PredictRequest")()
            request.model_spec.name = "m"
            put_tensor(request.inputs["X"], array)
            call = channel.unary_unary(
                "/tensorflow.serving.PredictionService/Predict",
                lambda value: value.SerializeToString(),
                message("PredictResponse").FromString,
            )
            call(request, timeout=10)

    ask_for(0.5, 1)
    ask_for(NAN, 1)
    with pytest.raises(grpc.RpcError) as refused:
        ask_for(0.5, NAN)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "column that may not be missing" in refused.value.details()
