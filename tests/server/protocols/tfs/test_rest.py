"""TensorFlow Serving's REST API: its own examples, its words, and nothing changed silently."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
import pytest

from lading.server.inference.version import ServedVersion, State
from support.bundles import IRIS_COLUMNS, linear_bundle
from support.hosted_app import hosted, served_from
from support.small_models import echo, echo_with_nan, half_plus_two, people

ROW = [5.1, 3.5, 1.4, 0.2]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfs")
    return hosted(
        served_from(linear_bundle(folder / "1", seed=1), 1),
        served_from(linear_bundle(folder / "2", seed=2), 2, ("live", "best")),
        served_from(half_plus_two(folder / "half"), 123, ("Version_Label",)),
        served_from(echo_with_nan(folder / "echo", "echo"), 7),
        served_from(echo(folder / "integers", "integers", "int32"), 1),
        served_from(echo(folder / "bytes", "bytes", "int8"), 1),
        served_from(echo(folder / "doubles", "doubles", "float64"), 1),
        served_from(echo(folder / "text", "text", "string", output="echo_bytes"), 1),
        served_from(people(folder / "people"), 1),
    )


def truth(asked, version: int, rows: Any) -> dict[str, np.ndarray]:
    return asked.app.plane.find("iris", version).run({"X": np.array(rows, np.float32)})


def refused(answer, status: int = 400) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["error"]
    return body["error"]


def test_the_published_example_works(models):
    answer = models.post("/v1/models/half:predict", content=b'{"instances": [1.0, 2.0, 5.0]}')
    assert answer.status_code == 200
    assert answer.json() == {"predictions": [2.5, 3.0, 4.5]}


def test_columns_in_columns_out(models):
    assert models.post("/v1/models/half:predict", {"inputs": [1.0, 2.0]}).json() == {"outputs": [2.5, 3.0]}
    assert models.post("/v1/models/half:predict", {"inputs": {"x": [1.0]}}).json() == {"outputs": [2.5]}
    assert models.post("/v1/models/half:predict", {"inputs": {"x": [1], "extra": 3}}).status_code == 200


def test_several_outputs_come_as_objects(models):
    rows = [ROW, [1, 2, 3, 4]]
    expected = truth(models, 2, rows)
    answer = models.post("/v1/models/iris:predict", {"instances": rows}).json()["predictions"]
    assert [one["label"] for one in answer] == expected["label"].tolist()
    found = np.array([one["probabilities"] for one in answer], np.float32)
    np.testing.assert_array_equal(found, expected["probabilities"])
    outputs = models.post("/v1/models/iris:predict", {"inputs": rows}).json()["outputs"]
    np.testing.assert_array_equal(np.array(outputs["probabilities"], np.float32), expected["probabilities"])


def test_rows_may_be_objects_by_input_or_by_column(models):
    plain = models.post("/v1/models/iris:predict", {"instances": [ROW]}).json()
    named = models.post("/v1/models/iris:predict", {"instances": [{"X": ROW}]}).json()
    columns = dict(zip(IRIS_COLUMNS, ROW, strict=True))
    assert models.post("/v1/models/iris:predict", {"instances": [columns]}).json() == plain == named


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("/v1/models/iris:predict", 2),
        ("/v1/models/iris/versions/1:predict", 1),
        ("/v1/models/iris/versions/2:predict", 2),
        ("/v1/models/iris/labels/best:predict", 2),
        ("/v1/models/iris/labels/stable:predict", 2),
        ("/V1/Models/iris/Versions/1:Predict", 1),
        ("/v1/models/%69ris/labels/b%65st:predict", 2),
    ],
)
def test_versions_and_labels_are_found_in_any_case(models, path, version):
    answer = models.post(path, {"instances": [ROW], "signature_name": "serving_default"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-lading-model"] == f"iris:{version}"


def test_several_inputs_come_by_name(models):
    rows = [{"age": 1.5, "city": "seoul"}, {"city": {"b64": "YnVzYW4="}, "age": 2}]
    expected = [{"value": [1.5], "where": ["seoul"]}, {"value": [2.0], "where": ["busan"]}]
    assert models.post("/v1/models/people:predict", {"instances": rows}).json() == {"predictions": expected}
    columns = {"age": [[1.5], [2]], "city": [["seoul"], ["busan"]]}
    assert models.post("/v1/models/people:predict", {"inputs": columns}).json() == {
        "outputs": {"value": [[1.5], [2.0]], "where": [["seoul"], ["busan"]]}
    }
    lists = refused(models.post("/v1/models/people:predict", {"instances": [[1, "seoul"]]}))
    assert lists.startswith("instances is a plain list, but expecting list of objects as multiple input")
    value = refused(models.post("/v1/models/people:predict", {"inputs": [1]}))
    assert value.startswith("inputs is a plain value/list, but expecting an object as multiple input tensors")


def test_nan_and_infinity_are_bare_tokens_both_ways(models):
    body = b'{"instances": [[NaN, 1.5], [Infinity, -Infinity]]}'
    answer = models.post("/v1/models/echo:predict", content=body)
    assert answer.status_code == 200, answer.text
    assert answer.content == b'{"predictions":[[NaN,1.5],[Infinity,-Infinity]]}'
    whole = models.post("/v1/models/echo:predict", content=b'{"inputs": [[NaN, 0.1]]}')
    assert whole.content == b'{"outputs":[[NaN,0.1]]}'


def test_nan_is_refused_where_no_golden_sample_had_one(models):
    answer = models.post("/v1/models/half:predict", content=b'{"instances": [1.0, NaN]}')
    assert "found NaN at `$.instances[1]`" in refused(answer)


def test_strings_come_as_text_or_base64_and_go_as_base64_where_the_name_says_bytes(models):
    encoded = base64.b64encode("각".encode()).decode()
    body = {"instances": ["plain", {"b64": encoded}, {"b64": encoded.rstrip("=")}]}
    answer = models.post("/v1/models/text:predict", body)
    assert answer.status_code == 200, answer.text
    assert [base64.b64decode(one["b64"]).decode() for one in answer.json()["predictions"]] == [
        "plain",
        "각",
        "각",
    ]


def test_floats_are_as_short_as_float32_allows(models):
    assert models.post("/v1/models/half:predict", {"instances": [0.2]}).content == b'{"predictions":[2.1]}'


MALFORMED = [
    ("GET", "/v1/foo"),
    ("POST", "/v1/foo"),
    ("GET", "/v1/models/debug/model_name"),
    ("POST", "/v1/models"),
    ("GET", "/v1/models/foo:predict"),
    ("GET", "/v1/models/foo/version/50:predict"),
    ("POST", "/v1/models/foo/version/50:regress"),
    ("POST", "/v1/models/foo/versions/HELLO:regress"),
    ("POST", "/v1/models/foo/metadata"),
    ("POST", "/v1/models/foo/label/some_label:regress"),
    ("POST", "/v1/models/foo/versions/50/labels/some_label:regress"),
    ("DELETE", "/v1/models/iris"),
    ("GET", "/v1/"),
]


@pytest.mark.parametrize(("method", "path"), MALFORMED)
def test_anything_else_under_v1_is_malformed(models, method, path):
    words = refused(models.request(method, path))
    # A route that is there for another method is refused in the same words.
    assert words.startswith(f"Malformed request: {method} {path}")


def test_the_name_and_a_possible_version_are_needed(models):
    assert refused(models.get("/v1/models")) == "Missing model name in request."
    huge = f"/v1/models/iris/versions/{2**64}:predict"
    assert refused(models.post(huge, {})) == f"Failed to convert version: {2**64} to numeric."


def test_what_is_not_there_is_said_in_its_words(models):
    rows = {"instances": [ROW]}
    assert refused(models.post("/v1/models/rose:predict", rows), 404) == (
        "Servable not found for request: Latest(rose)"
    )
    assert refused(models.post("/v1/models/iris/versions/9:predict", rows), 404) == (
        "Servable not found for request: Specific(iris, 9)"
    )
    assert refused(models.post("/v1/models/iris/labels/none:predict", rows)) == (
        "Unrecognized servable version label: none"
    )
    assert refused(models.get("/v1/models/rose"), 404) == "Could not find any versions of model rose"
    assert refused(models.get("/v1/models/iris/versions/9"), 404) == "Could not find version 9 of model iris"


WORDS = [
    ("half", b"", "JSON Parse error: The document is empty"),
    ("half", b"instances = [1, 2]", "JSON Parse error: Invalid value."),
    ("half", b'{"instances": [1e400]}', "JSON Parse error: Invalid value."),
    ("half", b'{"instances": [1e400, NaN]}', "JSON Parse error: Invalid value."),
    ("half", b"[1]", "Is not object"),
    ("half", b"{}", "Missing 'inputs' or 'instances' key"),
    (
        "half",
        b'{"instances": [1], "inputs": [1]}',
        "expecting only one of 'inputs' or 'instances' keys to exist",
    ),
    ("half", b'{"instances": 1}', "Expecting 'instances' to be an list/array"),
    ("half", b'{"instances": []}', "No values in 'instances' array"),
    ("half", b'{"signature_name": 100}', "'signature_name' key must be a string value."),
    (
        "half",
        b'{"signature_name": "no", "instances": [1]}',
        'Serving signature name: "no" not found in signature def',
    ),
    ("half", b'{"instances": ["x", "y"]}', 'JSON Value: "x" Type: String is not of expected type: float'),
    ("half", b'{"instances": [null]}', "JSON Value: null Type: Null is not of expected type: float"),
    ("half", b'{"instances": [true]}', "JSON Value: true Type: True is not of expected type: float"),
    ("half", b'{"instances": [{"b64": "aGk="}]}', "Type: Object is not of expected type: float"),
    (
        "half",
        b'{"instances": [16777217]}',
        "Cannot convert JSON value: 16777217 to float without loss of precision.",
    ),
    (
        "half",
        b'{"instances": [1e39]}',
        "Cannot convert JSON value: 1e+39 to float without loss of precision.",
    ),
    ("half", b'{"inputs": {"y": 1}}', "Missing named input: x in 'inputs' object."),
    ("half", b'{"instances": [{"y": 1}]}', "keys must be equal to: x"),
    ("half", b'{"instances": [{"x": 1}, 2]}', "Expecting object but got list at item 1 of input list"),
    ("half", b'{"instances": [1, {"x": 1}]}', "Expecting value/list but got object at item 1 of input list"),
    ("iris", b'{"instances": [[1,2,3,4], [1,2,3]]}', "Expecting tensor size: 4 but got: 3"),
    ("iris", b'{"instances": [[1,2,3,[4]]]}', "Encountered list at unexpected level: 1 expected < 1"),
    (
        "iris",
        b'{"inputs": [[1,2,3,4], [1,2]]}',
        "Encountered list at unexpected size: 2 at level: 1 expected size: 4",
    ),
    ("iris", b'{"inputs": [[1,2,3,4], 5]}', "JSON Value: 5 found at incorrect level: 2 in the JSON DOM."),
    (
        "iris",
        b'{"instances": [[1,2,3]]}',
        "expected `float32 [batch, 4]`, found 3 values at `$.instances[0]`",
    ),
    ("integers", b'{"instances": [1.5]}', "JSON Value: 1.5 Type: Number is not of expected type: int32"),
    ("integers", b'{"instances": [1.0]}', "JSON Value: 1.0 Type: Number is not of expected type: int32"),
    ("integers", b'{"instances": [2147483648]}', "is not of expected type: int32"),
    ("bytes", b'{"instances": [300]}', "found 300, which is beyond int8,"),
    ("doubles", b'{"instances": [9007199254740993]}', "to double without loss of precision."),
    ("text", b'{"instances": [1]}', "JSON Value: 1 Type: Number is not of expected type: string"),
    ("text", b'{"instances": [{"b64": "*"}]}', "Unable to base64 decode"),
    ("text", b'{"instances": [{"b64": "/w=="}]}', "expected UTF-8 text"),
    ("text", b'{"instances": ' + b"[" * 900 + b"]" * 900 + b"}", ""),
    ("half", b'{"instances": ' + b"[" * 100_000, "JSON Parse error"),
]


@pytest.mark.parametrize(("model", "body", "words"), WORDS)
def test_a_wrong_body_is_refused_in_its_words(models, model, body, words):
    assert words in refused(models.post(f"/v1/models/{model}:predict", content=body))


def test_an_integer_tensor_takes_integers(models):
    answer = models.post("/v1/models/integers:predict", {"instances": [1, -(2**31)]})
    assert answer.json() == {"predictions": [1, -(2**31)]}


def test_classify_gives_labels_and_scores(models):
    examples = [dict(zip(IRIS_COLUMNS, ROW, strict=True)), {"X": ROW}]
    expected = truth(models, 2, [ROW])["probabilities"][0]
    for example in examples:
        answer = models.post("/v1/models/iris:classify", {"examples": [example, example]})
        assert answer.status_code == 200, answer.text
        results = answer.json()["results"]
        assert [label for label, _ in results[1]] == ["setosa", "versicolor", "virginica"]
        scores = np.array([score for _, score in results[1]], np.float32)
        np.testing.assert_array_equal(scores, expected)


def test_a_context_joins_every_example(models):
    common = {IRIS_COLUMNS[0]: ROW[0], IRIS_COLUMNS[1]: [ROW[1]]}
    example = dict(zip(IRIS_COLUMNS[2:], ROW[2:], strict=True))
    answer = models.post("/v1/models/iris:classify", {"context": common, "examples": [example]})
    whole = models.post("/v1/models/iris:classify", {"examples": [{"X": ROW}]})
    assert answer.json() == whole.json()


def test_regress_gives_one_value_an_example(models):
    answer = models.post("/v1/models/half:regress", {"examples": [{"x": 1.0}, {"x": [2]}]})
    assert answer.content == b'{"results":[2.5,3.0]}'


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("half:classify", {"examples": [{"x": 1}]}, "Expected classification signature method_name to be"),
        ("iris:regress", {"examples": [{"X": ROW}]}, "Expected regression signature method_name to be"),
        ("half:regress", {}, "key 'examples' is expected and was not found"),
        ("half:regress", {"examples": 1}, "Expecting 'examples' value to be an list/array"),
        ("half:regress", {"examples": []}, "'examples' value is an empty array"),
        ("half:regress", {"examples": [1]}, "Example must be JSON object but got JSON Number"),
        (
            "half:regress",
            {"examples": [{"x": [[1]]}]},
            "Feature: x has element with unexpected JSON type: Array",
        ),
        (
            "half:regress",
            {"examples": [{"x": None}]},
            "Feature: x has element with unexpected JSON type: Null",
        ),
        ("half:regress", {"examples": [{"x": "a"}]}, "found a string"),
        ("half:regress", {"examples": [{"x": [1, 2]}]}, "found 2 values"),
        ("half:regress", {"examples": [{"y": 1}]}, "expected feature `x`"),
        ("half:regress", {"examples": [{"x": 1, "z": 1}]}, "found `z`"),
        ("iris:classify", {"examples": [{IRIS_COLUMNS[0]: 1}]}, f"expected feature `{IRIS_COLUMNS[1]}`"),
    ],
)
def test_wrong_examples_are_refused(models, path, body, words):
    assert words in refused(models.post(f"/v1/models/{path}", body))


def test_status_lists_versions_newest_first_and_pretty(models):
    answer = models.get("/v1/models/iris")
    assert answer.json() == {
        "model_version_status": [
            {
                "version": str(version),
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
            for version in (2, 1)
        ]
    }
    assert answer.text.startswith('{\n "model_version_status": [\n  {\n   "version": "2",')
    one = models.get("/v1/models/iris/versions/1").json()["model_version_status"]
    assert [status["version"] for status in one] == ["1"]


def test_states_are_translated():
    words = {
        State.LOADING: "LOADING",
        State.WARMING: "LOADING",
        State.READY: "AVAILABLE",
        State.DRAINING: "UNLOADING",
        State.UNLOADED: "END",
        State.FAILED: "END",
    }
    for state, word in words.items():
        shown = hosted(ServedVersion("wine", 1, "sha256:0", state, "because")).get("/v1/models/wine").json()
        status = shown["model_version_status"][0]
        assert status["state"] == word
        assert status["status"]["error_message"] == ("because" if state is State.FAILED else "")


def test_a_model_that_is_loading_is_unavailable_and_says_so():
    asked = hosted(ServedVersion("wine", 1, "sha256:0", State.LOADING))
    assert "`loading`" in refused(asked.post("/v1/models/wine:predict", {"instances": [1]}), 503)


def test_metadata_has_the_double_signature_def(models):
    shown = models.get("/v1/models/iris/metadata").json()
    assert shown["model_spec"] == {"name": "iris", "signature_name": "", "version": "2"}
    definition = shown["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert definition["inputs"]["X"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "4", "name": ""}],
            "unknown_rank": False,
        },
        "name": "X:0",
    }
    assert definition["outputs"]["label"]["dtype"] == "DT_INT64"
    assert definition["method_name"] == "tensorflow/serving/predict"


def test_every_route_is_documented(models):
    paths = models.get("/openapi.json").json()["paths"]
    operation = paths["/v1/models/{name}/versions/{version}:predict"]["post"]
    assert [one["name"] for one in operation["parameters"]] == ["name", "version"]


def test_answers_parse_as_json_where_all_is_finite(models):
    value = json.loads(models.post("/v1/models/half:predict", {"instances": [1e30]}).content)
    assert math.isclose(value["predictions"][0], 5e29, rel_tol=1e-6)
