"""SageMaker's contract for a container: ping, CSV without a header, CSV back, its port."""

from __future__ import annotations

import numpy as np
import pytest

from lading.errors import BodyInvalid, InvalidSetting
from lading.server.inference.version import ServedVersion, State
from lading.server.protocols.sagemaker import csv_response, wants_csv
from lading.settings import serve_settings
from lading.signature import Signature
from support.bundles import linear_bundle
from support.hosted_app import hosted, served_from
from support.onnx_graphs import bundle_of, graph, node, tensor
from support.small_models import echo

CSV = {"content-type": "text/csv"}
TEXT = b"5.1,3.5,1.4,0.2\n6.3,3.3,6.0,2.5\n"


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    return hosted(served_from(linear_bundle(tmp_path_factory.mktemp("sagemaker") / "iris"), 3))


def run_iris(client) -> dict[str, np.ndarray]:
    rows = np.array([line.split(b",") for line in TEXT.split()], np.float64).astype(np.float32)
    return client.app.plane.find("iris").run({"X": rows})


def test_ping_is_empty_and_200_only_when_ready(iris):
    answer = iris.get("/ping")
    assert (answer.status_code, answer.content) == (200, b"")
    for state in (State.LOADING, State.WARMING, State.DRAINING, State.FAILED):
        assert hosted(ServedVersion("wine", 1, "sha256:0", state)).get("/ping").status_code == 503


def test_csv_is_answered_by_csv_if_the_client_accepts_it(iris):
    answer = iris.post("/invocations", content=TEXT, headers={**CSV, "accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.text == "".join(f"{label}\n" for label in run_iris(iris)["label"])


def test_scores_in_csv_read_back_as_the_same_numbers(iris):
    body = {
        "instances": [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]],
        "params": {"outputs": ["probabilities"]},
    }
    answer = iris.post("/invocations", body, headers={"accept": "text/csv"})
    probabilities = np.array([line.split(",") for line in answer.text.split()]).astype(np.float32)
    np.testing.assert_array_equal(probabilities, run_iris(iris)["probabilities"])


def test_without_a_preference_the_answer_is_json(iris):
    for headers in (CSV, {**CSV, "accept": "*/*"}, {**CSV, "accept": "application/json, text/csv"}):
        answer = iris.post("/invocations", content=TEXT, headers=headers)
        assert answer.json() == {"predictions": run_iris(iris)["label"].tolist()}


def test_text_is_quoted_in_csv(tmp_path):
    client = hosted(served_from(echo(tmp_path / "echo", "echo", "string"), 1))
    answer = client.post("/invocations", {"instances": ["a,b", 'c"d']}, headers={"accept": "text/csv"})
    assert answer.text == '"a,b"\n"c""d"\n'


def test_unknown_headers_are_ignored(iris):
    headers = {**CSV, "x-amzn-sagemaker-custom-attributes": "trace=1", "x-amzn-sagemaker-target-model": "m"}
    assert iris.post("/invocations", content=TEXT, headers=headers).status_code == 200


def test_the_first_content_type_that_is_accepted_wins():
    assert wants_csv(b"text/csv")
    assert wants_csv(b"TEXT/CSV; header=absent, application/json")
    assert not wants_csv(b"application/json,text/csv")
    assert not wants_csv(b"*/*")
    assert not wants_csv(b"")


def test_labels_in_the_rows_are_refused(iris):
    answer = iris.post("/invocations", content=TEXT, headers={"content-type": "text/csv; label_size=1"})
    assert answer.status_code == 400
    assert "label_size" in answer.json()["message"]


def test_the_platforms_port_is_used_unless_ladings_is_set():
    assert serve_settings({}, {"SAGEMAKER_BIND_TO_PORT": "8080"}).port == 8080
    assert serve_settings({}, {"SAGEMAKER_BIND_TO_PORT": "8080", "LADING_PORT": "9000"}).port == 9000
    assert serve_settings({"port": 1}, {"SAGEMAKER_BIND_TO_PORT": "8080"}).port == 1
    with pytest.raises(InvalidSetting, match="`SAGEMAKER_BIND_TO_PORT`"):
        serve_settings({}, {"SAGEMAKER_BIND_TO_PORT": "many"})


def test_an_answer_that_is_no_table_is_refused_as_csv(tmp_path):
    shapes = (("batch", 2), ("two", 3))
    x, y = (tensor(name, "float32", *shape) for name, shape in zip("xy", shapes, strict=True))
    a, b = (tensor(name, "float32", *shape) for name, shape in zip("ab", shapes, strict=True))
    signature = Signature(inputs=(x, y), outputs=(a, b))
    model = graph(
        [node("Identity", "x", "a"), node("Identity", "y", "b")], signature.inputs, signature.outputs
    )
    inputs = {"x": np.ones((1, 2), np.float32), "y": np.ones((1, 3), np.float32)}
    asked = hosted(served_from(bundle_of(tmp_path / "two", model, signature, inputs)))
    body = {"inputs": {"x": [[1, 2], [3, 4]], "y": [[1, 2, 3]]}, "params": {"outputs": ["a", "b"]}}
    answer = asked.post("/invocations", body, headers={"accept": "text/csv"})
    assert answer.status_code == 400, answer.text
    assert "one value or more a row" in answer.text


def test_an_answer_without_rows_is_refused_as_csv():
    with pytest.raises(BodyInvalid, match="one value or more a row"):
        csv_response([np.empty((0, 3), np.float32)])
