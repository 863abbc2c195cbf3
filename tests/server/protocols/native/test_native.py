"""The book's routes and the native ones: right answers, and refusals that name the place."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.server.inference.version import ServedVersion, State
from lading.signature import Tensor, named_labels
from support.bundles import linear_bundle
from support.hosted_app import hosted, served_from

ROW = [5.1, 3.5, 1.4, 0.2]


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    old = served_from(linear_bundle(folder / "1", seed=1), 1)
    new = served_from(linear_bundle(folder / "2", seed=2), 2, ("live",))
    return hosted(old, new)


def truth(asked, version: int, rows: Any) -> dict[str, np.ndarray]:
    served = asked.app.plane.find("iris", version)
    return served.run({"X": np.array(rows, np.float32)})


def test_one_row_at_the_root_gives_one_flat_row(iris):
    answer = iris.post("/predict", {"data": [ROW]})
    assert answer.status_code == 200
    expected = truth(iris, 2, [ROW])["probabilities"][0]
    np.testing.assert_array_equal(np.array(answer.json()["prediction"], np.float32), expected)


def test_ten_rows_give_ten_results(iris):
    rows = [[float(i), 1, 2, 3] for i in range(10)]
    answer = iris.post("/predict", {"data": rows}).json()["prediction"]
    np.testing.assert_array_equal(np.array(answer, np.float32), truth(iris, 2, rows)["probabilities"])


def test_one_row_under_models_gives_one_result_in_a_list(iris):
    answer = iris.post("/models/iris/predict", {"data": [ROW]}).json()["prediction"]
    assert np.array(answer).shape == (1, 3)


def test_the_version_and_the_tag_in_the_route_win(iris):
    for route, version in (("versions/1", 1), ("versions/2", 2), ("tags/live", 2)):
        answer = iris.post(f"/models/iris/{route}/predict", {"data": [ROW]})
        assert answer.headers["x-lading-model"] == f"iris:{version}"
        expected = truth(iris, version, [ROW])["probabilities"]
        np.testing.assert_array_equal(np.array(answer.json()["prediction"], np.float32), expected)


def test_labels_come_by_name(iris):
    index = int(truth(iris, 2, [ROW])["label"][0])
    names = ["setosa", "versicolor", "virginica"]
    assert iris.get("/label").json() == {"0": "setosa", "1": "versicolor", "2": "virginica"}
    assert iris.post("/predict/label", {"data": [ROW]}).json() == {"prediction": names[index]}
    assert iris.post("/models/iris/predict/label", {"data": [ROW, ROW]}).json() == {
        "prediction": [names[index]] * 2
    }


def test_named_outputs_come_by_name(iris):
    answer = iris.post("/predict", {"data": [ROW], "outputs": ["label"]}).json()
    assert answer == {"outputs": {"label": [int(truth(iris, 2, [ROW])["label"][0])]}}


def test_the_test_routes_answer_the_first_golden_sample(iris):
    samples = iris.app.plane.resolve("iris").samples
    answer = iris.get("/predict/test").json()["prediction"]
    np.testing.assert_allclose(answer, samples.outputs["probabilities"][0], rtol=1e-5)
    assert iris.get("/predict/test/label").json()["prediction"] in ("setosa", "versicolor", "virginica")


def test_rows_may_be_objects_by_column_name(iris):
    columns = iris.app.plane.resolve("iris").signature.columns
    row = dict(zip(reversed(columns), reversed(ROW), strict=True))
    assert iris.post("/predict", {"data": [row]}).json() == iris.post("/predict", {"data": [ROW]}).json()


def test_metadata_is_read_from_the_bundle(iris):
    shown = iris.get("/metadata").json()
    samples = iris.app.plane.resolve("iris").samples
    assert shown["data_type"] == "float32"
    assert shown["data_structure"] == "(1,4)"
    np.testing.assert_array_equal(np.array(shown["data_sample"], np.float32), samples.inputs["X"][:1])
    assert shown["prediction_type"] == "float32"
    assert shown["prediction_structure"] == "(1,3)"
    expected = samples.outputs["probabilities"][0]
    np.testing.assert_array_equal(np.array(shown["prediction_sample"], np.float32), expected)
    assert shown["digest"] == iris.app.plane.resolve("iris").digest


def test_every_answer_names_the_bundle_and_the_request(iris):
    answer = iris.post("/predict", {"data": [ROW]}, headers={"x-request-id": "mine"})
    assert answer.headers["x-lading-model"] == "iris:2"
    assert answer.headers["x-lading-digest"] == iris.app.plane.resolve("iris").digest
    assert answer.headers["x-request-id"] == "mine"
    ids = {iris.get("/health").headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5


def test_the_models_are_listed_with_their_states(iris):
    listed = iris.get("/models").json()["models"]
    assert [(one["version"], one["state"]) for one in listed] == [(1, "ready"), (2, "ready")]
    shown = iris.get("/models/iris").json()
    assert [one["version"] for one in shown["versions"]] == [1, 2]
    assert shown["labels"]["0"] == "setosa"


def test_health_is_ok_only_when_every_model_is_ready(iris):
    assert iris.get("/health").json()["health"] == "ok"
    assert hosted().get("/health").status_code == 503
    assert hosted().get("/health").json()["health"] == "empty"
    assert hosted().post("/predict", {"data": [ROW]}).status_code == 503
    for state, word in ((State.LOADING, "loading"), (State.WARMING, "loading"), (State.FAILED, "failed")):
        served = ServedVersion("wine", 1, "sha256:0", state, "because")
        answer = hosted(*iris.app.plane.versions("iris"), served).get("/health")
        assert answer.status_code == 503
        assert answer.json()["health"] == word
        assert answer.json()["reason"] == "because"


def test_a_model_that_is_loading_answers_503_with_the_reason():
    served = ServedVersion("wine", 1, "sha256:0", State.LOADING)
    answer = hosted(served).post("/predict", {"data": [[1]]})
    assert answer.status_code == 503
    assert answer.json()["code"] == "ModelNotReady"
    assert "`wine:1`" in answer.json()["error"]
    assert answer.headers["retry-after"]


WRONG = [
    ({"data": [[1, 2, 3]]}, "ShapeRefused", "`$.data[0]`", "3 values"),
    ({"data": [ROW, [1, 2]]}, "ShapeRefused", "`$.data[1]`", "2 values"),
    ({"data": [[1, 2, "a", 4]]}, "ValueRefused", "`$.data[0][2]`", "a string"),
    ({"data": [[1, 2, True, 4]]}, "ValueRefused", "`$.data[0][2]`", "true"),
    ({"data": [[1, 2, None, 4]]}, "ValueRefused", "`$.data[0][2]`", "null"),
    ({"data": [[1, 2, 1e39, 4]]}, "ValueRefused", "`$.data[0][2]`", "1e+39"),
    ({"data": []}, "EmptyInput", "`$.data`", "empty"),
    ({"data": [[]]}, "ShapeRefused", "`$.data[0]`", "0 values"),
    ({"data": 3}, "ValueRefused", "`$.data`", "3"),
    ({"data": [{"sepal_length": 1}]}, "InputMissing", "`$.data[0]`", "`sepal_width`"),
    ({"data": {"Y": [ROW]}}, "InputUnknown", "`Y`", "`X`"),
    ({"data": [ROW], "outputs": ["nothing"]}, "OutputUnknown", "`nothing`", "`label`"),
    ({"data": [ROW], "outputs": []}, "BodyInvalid", "`$.outputs`", "none"),
    ({"dada": [ROW]}, "BodyInvalid", "body", "dada"),
    ({}, "BodyInvalid", "body", "data"),
]


@pytest.mark.parametrize(("body", "code", "place", "found"), WRONG)
def test_a_wrong_request_is_refused_with_its_place(iris, body, code, place, found):
    for route in ("/predict", "/models/iris/predict", "/models/iris/versions/2/predict/label"):
        if "outputs" in body and route.endswith("label"):
            continue
        answer = iris.post(route, body)
        assert answer.status_code == 400
        refused = answer.json()
        assert refused["code"] == code
        assert place in refused["error"]
        assert found in refused["error"]
        assert "\n" not in refused["error"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1", b"\xff\xfe", b'{"data": [[NaN]]}', b'{"data": ' + b"[" * 10_000]
)
def test_broken_json_is_refused(iris, body):
    answer = iris.post("/predict", content=body)
    assert answer.status_code == 400
    assert answer.json()["code"] == "BodyInvalid"


def test_a_sentence_of_the_parser_goes_on_with_ours(iris):
    assert iris.post("/predict", content=b"{,").json()["error"].startswith("body: JSON is malformed")
    assert iris.post("/predict", content=b"{").json()["error"].startswith("body: input data was truncated")


@pytest.mark.parametrize(
    ("path", "code", "found"),
    [
        ("/models/rose/predict", "ModelNotFound", "`rose`"),
        ("/models/iris/versions/9/predict", "VersionNotFound", "9"),
        ("/models/iris/tags/rare/predict", "TagNotFound", "`rare`"),
        ("/nowhere", "RouteNotFound", "`/nowhere`"),
    ],
)
def test_what_is_not_there_is_404(iris, path, code, found):
    answer = iris.post(path, {"data": [ROW]})
    assert answer.status_code == 404
    assert answer.json()["code"] == code
    assert found in answer.json()["error"]


def test_another_method_is_405_and_names_those_allowed(iris):
    answer = iris.request("DELETE", "/predict")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def test_a_body_over_the_limit_is_413(iris):
    small = hosted(*iris.app.plane.versions("iris"), max_body_bytes=1000)
    answer = small.post("/predict", content=b" " * 1001)
    assert answer.status_code == 413
    assert "at most 1000 bytes" in answer.json()["error"]


def test_a_defect_of_ours_shows_no_traceback(iris, caplog):
    served = iris.app.plane.resolve("iris")

    def broken(*_given: object) -> None:
        raise KeyError("a defect")

    faulty = hosted(served)
    faulty.app.router.find("GET", "/health")
    route = next(one for one in faulty.app.router.routes if one.pattern == "/health")
    # A defect cannot be provoked from outside; the handler is replaced by one that has it.
    object.__setattr__(route, "handler", broken)
    answer = faulty.get("/health")
    assert answer.status_code == 500
    assert "Traceback" not in answer.text
    assert "a defect" not in answer.text
    assert answer.headers["x-request-id"] in answer.json()["hint"]
    assert "a defect" in caplog.text


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
rows = st.lists(
    st.lists(st.floats(allow_nan=False) | st.integers() | json_values, min_size=3, max_size=5), max_size=4
)
bodies = st.fixed_dictionaries({"data": rows | json_values}) | json_values


@pytest.mark.slow
@settings(max_examples=1500)
@given(bodies)
def test_no_json_body_gives_a_5xx_or_another_dtype(iris, body):
    try:
        content = json.dumps(body, allow_nan=False)
    except ValueError:
        content = json.dumps(body).replace("Infinity", "1e999").replace("-1e999", "-1e999")
    answer = iris.post("/models/iris/predict", content=content.encode("utf-8", "surrogatepass"))
    assert answer.status_code in (200, 400)
    shown = answer.json()
    if answer.status_code == 200:
        prediction = np.array(shown["prediction"], dtype=np.float32)
        assert prediction.shape == (len(body["data"]), 3)
    else:
        assert shown["error"]
        assert "\n" not in shown["error"]


@settings(max_examples=500)
@given(st.binary(max_size=60))
def test_no_bytes_give_a_5xx(iris, content):
    assert iris.post("/predict", content=content).status_code == 400


def test_labels_of_nested_classes_keep_their_shape():
    tensor = Tensor(name="label", dtype="int64", shape=("batch", 2))
    scores = Tensor(name="scores", dtype="float32", shape=(3,), columns=("a", "b", "c"))
    assert named_labels(scores, np.array([0.1, 0.7, 0.2]), {"b": "yes"}) == "yes"
    assert named_labels(tensor, np.array([[0, 1], [1, 2]]), {"0": "no", "1": "yes"}) == [
        ["no", "yes"],
        ["yes", 2],
    ]
