"""SageMaker's contract for a container: ping, CSV without a header, CSV back, its port."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from lading.errors import BodyInvalid, InvalidSetting
from lading.server.inference.version import ServedVersion, State
from lading.server.protocols.sagemaker import csv_response, lines_response, npy_response, writer
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


@pytest.mark.parametrize(
    ("accept", "write"),
    [
        (b"text/csv", csv_response),
        (b"TEXT/CSV; header=absent, application/json", csv_response),
        (b"application/json,text/csv", None),
        (b"application/json;q=0.1, text/csv", csv_response),
        (b"text/csv;q=0, */*;q=0.1", None),
        (b"text/html, application/xml;q=0.9, */*;q=0.8", None),
        (b"*/*", None),
        (b"", None),
        (b"application/jsonlines", lines_response),
        (b"application/x-ndjson", lines_response),
        (b"application/x-npy", npy_response),
    ],
)
def test_the_content_type_that_is_liked_best_wins_and_of_equals_the_first(accept, write):
    assert writer(accept) is write


def test_an_answer_that_the_client_does_not_accept_is_refused(iris):
    for accept in ("application/x-recordio-protobuf", "text/csv;q=0", "text/csv;q=much"):
        answer = iris.post("/invocations", content=TEXT, headers={**CSV, "accept": accept})
        assert answer.status_code == 406, answer.text
        assert accept in answer.json()["message"]


@pytest.mark.parametrize("kind", ["application/jsonlines", "application/x-ndjson"])
def test_each_line_of_json_is_a_row(iris, kind):
    lines = (
        b'[5.1,3.5,1.4,0.2]\n\r\n{"features": [6.3, 3.3, 6.0, 2.5]}\n',
        b'{"X":[5.1,3.5,1.4,0.2]}\n{"X":[6.3,3.3,6.0,2.5]}',
    )
    for body in lines:
        headers = {"content-type": kind, "accept": "application/jsonlines"}
        answer = iris.post("/invocations", content=body, headers=headers)
        assert answer.text == "".join(f"{label}\n" for label in run_iris(iris)["label"])
        assert answer.headers["content-type"] == "application/jsonlines"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "at least one line"),
        (b"[1,2,3,4]\n[1,2", "body, line 2"),
        (b"[1,2,3,4]\n[1,2,3]", "`$[1]`"),
        (b"\xff", "not UTF-8"),
        (b"[" * 90000, "line 1"),
    ],
)
def test_lines_that_are_no_rows_are_refused_with_their_place(iris, body, text):
    answer = iris.post("/invocations", content=body, headers={"content-type": "application/jsonlines"})
    assert answer.status_code == 400, answer.text
    assert text in answer.json()["message"]


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_of_numpy_is_answered_by_one(iris, dtype, order):
    rows = np.array([line.split(b",") for line in TEXT.split()], dtype=np.float64)
    body = npy(np.asarray(rows, dtype, order=order))
    headers = {"content-type": "application/x-npy", "accept": "application/x-npy"}
    answer = iris.post("/invocations", content=body, headers=headers)
    assert answer.headers["content-type"] == "application/x-npy"
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), run_iris(iris)["label"])


def test_text_goes_both_ways_as_numpy_writes_it(tmp_path):
    client = hosted(served_from(echo(tmp_path / "echo", "echo", "string"), 1))
    headers = {"content-type": "application/x-npy", "accept": "application/x-npy"}
    answer = client.post("/invocations", content=npy(np.array(["a", "한글"])), headers=headers)
    assert np.load(io.BytesIO(answer.content)).tolist() == ["a", "한글"]


def with_shape(shape: str) -> bytes:
    whole = npy(np.zeros((2, 4)))
    return whole.replace(b"(2, 4), }" + b" " * len(shape), f"{shape}, }}".encode() + b" " * 6)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "a `.npy` file"),
        (b"\x93NUMPY\x01", "a `.npy` file"),
        (npy(np.zeros((2, 4)))[:-1], "a `.npy` file"),
        (npy(np.zeros((2, 4))) + b"12345678", "a `.npy` file"),
        (with_shape("(900000000000, 4)"), "a `.npy` file"),
        (npy(np.array([{}], object)), "an array of numbers or text"),
        (npy(np.zeros((2, 3))), "[2, 3]"),
        (npy(np.zeros(4, "M8[s]")), "an array of numbers or text"),
    ],
)
def test_what_is_no_array_of_the_model_is_refused_and_nothing_unpickled(iris, body, text):
    answer = iris.post("/invocations", content=body, headers={"content-type": "application/x-npy"})
    assert answer.status_code == 400, answer.text
    assert text in answer.json()["message"]


def test_several_outputs_are_lines_of_lists_and_no_array(iris):
    body = {"instances": [[5.1, 3.5, 1.4, 0.2]], "params": {"outputs": ["label", "probabilities"]}}
    lines = iris.post("/invocations", body, headers={"accept": "application/jsonlines"})
    label, probabilities = json.loads(lines.text)
    assert (label, len(probabilities)) == (run_iris(iris)["label"][0], 3)
    assert iris.post("/invocations", body, headers={"accept": "application/x-npy"}).status_code == 400


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
