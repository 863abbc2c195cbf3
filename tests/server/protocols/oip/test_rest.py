"""Open Inference Protocol over REST: every datatype both ways, binary tensors, facts, refusals."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.server.inference.version import ServedVersion
from lading.server.protocols.oip.tensors import DATATYPES, to_bytes
from lading.signature import DTYPES
from support.bundles import linear_bundle
from support.echo_models import echo_bundle, echo_bundles, sum_bundle, values_of
from support.hosted_app import AppClient, hosted, served_from

LENGTH = "inference-header-content-length"


@pytest.fixture(scope="module")
def asked(tmp_path_factory) -> AppClient:
    folder = tmp_path_factory.mktemp("oip")
    versions = [served_from(one) for one in echo_bundles(folder)]
    versions.append(served_from(sum_bundle(folder / "sum")))
    versions.append(served_from(echo_bundle(folder / "scalar", "float32", "scalar", ()), 1))
    versions.append(served_from(echo_bundle(folder / "row", "int64", "row", ("length",)), 1))
    versions.append(served_from(linear_bundle(folder / "1", seed=1), 1))
    versions.append(served_from(linear_bundle(folder / "2", seed=2), 2, ("live",)))
    versions.append(served_from(linear_bundle(folder / "plain", "plain"), 0))
    return hosted(*versions)


def given_input(array: Any, dtype: str, name: str = "x", **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": DATATYPES[dtype], **more}


def infer(asked: AppClient, model: str, *inputs: dict[str, Any], **more: Any) -> Any:
    return asked.post(f"/v2/models/{model}/infer", {"inputs": list(inputs), **more})


def infer_binary(asked: AppClient, model: str, head: dict[str, Any], *parts: bytes) -> Any:
    text = json.dumps(head).encode()
    return asked.post(
        f"/v2/models/{model}/infer", content=b"".join((text, *parts)), headers={LENGTH: str(len(text))}
    )


def behind(answer: Any) -> tuple[dict[str, Any], bytes]:
    size = int(answer.headers[LENGTH])
    return json.loads(answer.content[:size]), answer.content[size:]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("nested", [True, False])
def test_every_datatype_comes_back_through_json(asked, dtype, nested):
    values = values_of(dtype, (5, 3))
    data = values.tolist() if nested else values.reshape(-1).tolist()
    answer = infer(asked, f"echo-{dtype}", given_input(values, dtype, data=data))
    assert answer.status_code == 200, answer.text
    (output,) = answer.json()["outputs"]
    assert output["name"] == "y"
    assert output["datatype"] == DATATYPES[dtype]
    assert output["shape"] == [5, 3]
    found = np.array(output["data"], values.dtype).reshape(5, 3)
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_datatype_comes_back_as_bytes(asked, dtype):
    values = values_of(dtype, (5, 3))
    data = to_bytes(values)
    one = given_input(values, dtype, parameters={"binary_data_size": len(data)})
    head = {"inputs": [one], "parameters": {"binary_data_output": True}}
    answer = infer_binary(asked, f"echo-{dtype}", head, data)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/octet-stream"
    shown, rest = behind(answer)
    (output,) = shown["outputs"]
    assert output["parameters"] == {"binary_data_size": len(data)}
    assert "data" not in output
    assert rest == data


def test_one_input_as_json_and_one_as_bytes_go_together(asked):
    a, b = np.arange(6, dtype=np.float32).reshape(3, 2), np.full((3, 2), 0.5, np.float32)
    head = {
        "id": "42",
        "inputs": [
            given_input(a, "float32", "a", data=a.tolist()),
            given_input(b, "float32", "b", parameters={"binary_data_size": b.nbytes}),
        ],
        "outputs": [{"name": "rest", "parameters": {"binary_data": True}}, {"name": "total"}],
    }
    shown, rest = behind(infer_binary(asked, "sum", head, b.tobytes()))
    assert shown["id"] == "42"
    assert [one["name"] for one in shown["outputs"]] == ["rest", "total"]
    np.testing.assert_array_equal(np.frombuffer(rest, np.float32).reshape(3, 2), a - b)
    assert shown["outputs"][1]["data"] == (a + b).reshape(-1).tolist()


def test_the_same_json_before_other_bytes_is_answered_by_those(asked):
    one = np.zeros((2, 2), np.float32)
    size = {"parameters": {"binary_data_size": one.nbytes}}
    inputs = [given_input(one, "float32", "b", **size), given_input(one, "float32", "a", **size)]
    outputs = [{"name": "rest", "parameters": {"binary_data": True}}]
    for number in range(4):
        a, b = one + number, one + 10 * number
        head = {"inputs": inputs, "outputs": outputs, **({"id": "7"} if number == 2 else {})}
        shown, rest = behind(infer_binary(asked, "sum", head, b.tobytes(), a.tobytes()))
        assert shown.get("id") == ("7" if number == 2 else None)
        np.testing.assert_array_equal(np.frombuffer(rest, np.float32).reshape(2, 2), a - b)
    head = {"inputs": inputs, "outputs": outputs}
    for body, says in ((b"\0" * 28, "16 bytes"), (b"\0" * 36, "32 bytes behind the JSON")):
        refused = infer_binary(asked, "sum", head, body)
        assert refused.status_code == 400
        assert says in refused.json()["error"]
    spoilt = np.full((2, 2), np.nan, np.float32).tobytes()
    assert "NaN" in infer_binary(asked, "sum", head, spoilt, spoilt).json()["error"]


def test_an_output_says_for_itself_whether_it_is_binary(asked):
    a = np.ones((1, 2), np.float32)
    answer = infer(
        asked,
        "sum",
        given_input(a, "float32", "a", data=[1, 1]),
        given_input(a, "float32", "b", data=[1, 1]),
        parameters={"binary_data_output": True, "unknown": "ignored", "priority": 3},
        outputs=[{"name": "total", "parameters": {"binary_data": False}}],
        id=None,  # As clients write it that write every field.
    )
    assert LENGTH not in answer.headers
    assert answer.json()["outputs"] == [
        {"name": "total", "datatype": "FP32", "shape": [1, 2], "data": [2.0, 2.0]}
    ]
    assert "id" not in answer.json()


def test_a_raw_body_is_one_row_and_is_answered_raw(asked):
    row = np.array([5.1, 3.5, 1.4, 0.2], np.float32)
    answer = asked.post("/v2/models/iris/infer", content=row.tobytes(), headers={LENGTH: "0"})
    shown, rest = behind(answer)
    assert [one["shape"] for one in shown["outputs"]] == [[1], [1, 3]]
    assert len(rest) == 8 + 12


def test_a_raw_body_finds_the_one_dynamic_dimension(asked):
    values = np.arange(7)
    answer = asked.post("/v2/models/row/infer", content=values.tobytes(), headers={LENGTH: "0"})
    shown, rest = behind(answer)
    assert shown["outputs"][0]["shape"] == [7]
    assert rest == values.tobytes()


def test_raw_bodies_that_cannot_be_told_are_refused(asked):
    for model, body in (("iris", b"123"), ("sum", b"12345678"), ("echo-string", b"text")):
        answer = asked.post(f"/v2/models/{model}/infer", content=body, headers={LENGTH: "0"})
        assert answer.status_code == 400, model
        assert answer.json().keys() == {"error"}


def test_a_scalar_comes_back(asked):
    assert infer(asked, "scalar", {"name": "x", "shape": [], "datatype": "FP32", "data": [2.5]}).json()[
        "outputs"
    ] == [{"name": "y", "datatype": "FP32", "shape": [], "data": [2.5]}]


def test_an_array_at_an_odd_address_is_read_right(asked):
    values = values_of("float64", (5, 3))
    one = given_input(values, "float64", parameters={"binary_data_size": values.nbytes})
    for pad in range(8):
        head = {"inputs": [one], "id": "x" * (pad + 1), "parameters": {"binary_data_output": True}}
        _, rest = behind(infer_binary(asked, "echo-float64", head, values.tobytes()))
        assert rest == values.tobytes()


def test_infinities_travel_as_bare_tokens(asked):
    body = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[Infinity,-Infinity,1]}]}'
    answer = asked.post("/v2/models/echo-float32/infer", content=body)
    assert b"[Infinity,-Infinity,1.0]" in answer.content


def test_nan_is_refused_where_the_golden_samples_hold_none(asked):
    body = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,NaN,1]}]}'
    answer = asked.post("/v2/models/echo-float32/infer", content=body)
    assert answer.status_code == 400
    assert "NaN at `$.inputs[0].data[1]`" in answer.json()["error"]


def test_the_version_in_the_route_answers(asked):
    row = {"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}
    for place, version in (("", 2), ("/versions/1", 1), ("/versions/2", 2), ("/versions/live", 2)):
        answer = asked.post(f"/v2/models/iris{place}/infer", {"inputs": [row]})
        assert answer.json()["model_version"] == str(version)
        assert answer.headers["x-lading-model"] == f"iris:{version}"
    assert asked.post("/v2/models/plain/versions/0/infer", {"inputs": [row]}).json()["model_version"] == "0"


def test_classification_gives_the_best_with_index_and_label(asked):
    row = {"name": "X", "shape": [2, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2, 1, 2, 3, 4]}
    wanted = {"name": "probabilities", "parameters": {"classification": 2}}
    (output,) = infer(asked, "iris", row, outputs=[wanted]).json()["outputs"]
    assert output["datatype"] == "BYTES"
    assert output["shape"] == [2, 2]
    value, index, label = output["data"][0].split(":")
    assert label == ["setosa", "versicolor", "virginica"][int(index)]
    assert len(value.partition(".")[2]) == 6
    assert float(value) >= float(output["data"][1].split(":")[0])


def test_metadata_names_versions_datatypes_and_dynamic_shapes(asked):
    found = asked.get("/v2/models/iris").json()
    assert found == {
        "name": "iris",
        "versions": ["1", "2"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "X", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
        ],
    }
    assert asked.get("/v2/models/iris/versions/1").json() == found


def test_the_server_names_its_extensions(asked):
    for path in ("/v2", "/v2/"):
        found = asked.get(path).json()
        assert found["name"] == "lading"
        assert "binary_tensor_data" in found["extensions"]


def test_health_follows_the_models(asked, tmp_path):
    assert asked.get("/v2/health/live").json() == {"live": True}
    assert asked.get("/v2/health/ready").status_code == 200
    assert asked.get("/v2/models/iris/ready").json() == {"name": "iris", "ready": True}
    loading = hosted(ServedVersion("iris", 1, "sha256:0"))
    assert loading.get("/v2/health/live").status_code == 200
    assert loading.get("/v2/health/ready").status_code == 503
    assert loading.get("/v2/models/iris/ready").json() == {"name": "iris", "ready": False}
    assert loading.get("/v2/models/iris/ready").status_code == 503
    assert loading.get("/v2/models/iris").status_code == 503
    refused = infer(loading, "iris", {"name": "X", "shape": [1], "datatype": "FP32", "data": [1]})
    assert refused.status_code == 503
    assert loading.post("/v2/repository/index", {"ready": True}).json() == []
    assert loading.post("/v2/repository/index").json() == [
        {"name": "iris", "version": "1", "state": "LOADING", "reason": ""}
    ]


def test_loading_through_the_protocol_is_refused_as_not_supported(asked):
    for act in ("load", "unload"):
        answer = asked.post(f"/v2/repository/models/iris/{act}", {})
        assert answer.status_code == 501
        assert "hint" in answer.json()["error"]


def test_statistics_count_over_protocols(asked):
    before = asked.get("/v2/models/sum/stats").json()["model_stats"][0]
    a = np.ones((3, 2), np.float32)
    pair = [given_input(a, "float32", name, data=a.tolist()) for name in "ab"]
    assert infer(asked, "sum", *pair).status_code == 200
    asked.post("/models/sum/predict", {"data": {"a": [[1, 1]], "b": [[1, 1]]}})
    (after,) = asked.get("/v2/models/sum/versions/1/stats").json()["model_stats"]
    assert after["inference_count"] - before["inference_count"] == 4
    success = after["inference_stats"]["success"]
    assert success["count"] - before["inference_stats"]["success"]["count"] == 2
    assert success["ns"] > before["inference_stats"]["success"]["ns"]
    assert len(asked.get("/v2/models/stats").json()["model_stats"]) > 10


GOOD = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "z"}, "`z`"),
        ({"datatype": "FP64"}, "expected datatype `FP32`, found `FP64`"),
        ({"datatype": "float"}, "`float`"),
        ({"shape": [1, 4]}, "[1, 4]"),
        ({"shape": [3]}, "[3]"),
        ({"shape": [-1, 3]}, "[-1, 3]"),
        ({"shape": [0, 3], "data": []}, "row"),
        ({"shape": [2, 3]}, "expected 6 values at `$.inputs[0].data`, found 3"),
        ({"shape": [2**40, 3]}, "found 3"),
        ({"shape": ["1", 3]}, "shape"),
        ({"data": [1, "2", 3]}, "a string at `$.inputs[0].data[1]`"),
        ({"data": [[1, 2, "x"]]}, "a string at `$.inputs[0].data[0][2]`"),
        ({"data": [1, None, 3]}, "null at `$.inputs[0].data[1]`"),
        ({"data": [1, 1e39, 3]}, "1e+39"),
        ({"data": [1, True, 3]}, "true at `$.inputs[0].data[1]`"),
        ({"data": "text"}, "a string at `$.inputs[0].data`"),
        ({"data": None}, "null at `$.inputs[0].data`"),
        ({"data": {}}, "an object"),
        ({"parameters": {"binary_data_size": -1}}, "binary_data_size"),
        ({"parameters": {"binary_data_size": "12"}}, "binary_data_size"),
        ({"parameters": {"binary_data_size": 12}}, "0 bytes behind the JSON"),
        ({"parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 12}}, "shared memory"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(asked, change, says):
    answer = infer(asked, "echo-float32", {**GOOD, **change})
    assert answer.status_code == 400, answer.text
    assert answer.json().keys() == {"error"}
    assert says in answer.json()["error"]


@pytest.mark.parametrize(
    ("more", "status", "says"),
    [
        ({"outputs": [{"name": "z"}]}, 400, "`z`"),
        ({"outputs": "y"}, 400, "outputs"),
        ({"inputs": []}, 400, "`x`"),
        ({"inputs": [GOOD, GOOD]}, 400, "again"),
        ({"inputs": [{key: GOOD[key] for key in ("name", "shape", "datatype")}]}, 400, "found neither"),
        ({"inputs": [{**GOOD, "shape": [2**70, 3]}]}, 400, "shape"),
        ({"inputs": {}}, 400, "inputs"),
        ({"id": 3}, 400, "id"),
        ({"parameters": {"binary_data_output": "yes"}}, 400, "binary_data_output"),
        ({"outputs": [{"name": "y", "parameters": {"classification": -1}}]}, 400, "classification"),
    ],
)
def test_bodies_that_say_something_else_are_refused(asked, more, status, says):
    answer = asked.post("/v2/models/echo-float32/infer", {"inputs": [GOOD], **more})
    assert answer.status_code == status
    assert says in answer.json()["error"]


def test_a_sentence_of_the_parser_goes_on_with_ours(asked):
    answer = asked.post("/v2/models/echo-float32/infer", content=b"{,")
    assert answer.json()["error"].startswith("body: JSON is malformed")


def test_names_that_are_not_here_are_not_found(asked):
    for path in ("/v2/models/nope", "/v2/models/iris/versions/9", "/v2/models/iris/versions/beta"):
        for method, place in (("GET", ""), ("GET", "/ready"), ("POST", "/infer"), ("GET", "/stats")):
            answer = asked.request(method, path + place)
            assert answer.status_code == 404, path + place
            assert answer.json().keys() == {"error"}


def test_bytes_that_are_not_what_they_say_are_refused(asked):
    def refused(dtype: str, data: bytes, declared: int | None = None) -> str:
        size = len(data) if declared is None else declared
        one = {"name": "x", "shape": [1, 3], "datatype": DATATYPES[dtype]}
        head = {"inputs": [{**one, "parameters": {"binary_data_size": size}}]}
        answer = infer_binary(asked, f"echo-{dtype}", head, data)
        assert answer.status_code == 400
        return answer.json()["error"]

    assert "12 bytes" in refused("float32", b"\0" * 8)
    assert "another byte" in refused("bool", b"\0\1\2")
    text = struct.pack("<I", 1) + b"a"
    assert "3 strings" in refused("string", text)
    assert "bytes" in refused("string", text * 2 + struct.pack("<I", 2**31) + b"a")
    assert "UTF-8" in refused("string", text * 2 + struct.pack("<I", 1) + b"\xff")
    assert "in 3 strings" in refused("string", text * 4)


@pytest.mark.parametrize("length", ["-1", "x", "99999", "1.5"])
def test_a_wrong_header_length_is_refused(asked, length):
    answer = asked.post("/v2/models/echo-float32/infer", {"inputs": [GOOD]}, headers={LENGTH: length})
    assert answer.status_code == 400
    assert "inference-header-content-length" in answer.json()["error"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_the_header_length_counts_the_body_as_it_was_before_it_was_compressed(asked, encoding):
    values = np.array([1.5, -2.5, 4.0], np.float32).tobytes()
    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32"}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(values)}}]}).encode()
    packed = {"gzip": gzip, "deflate": zlib}[encoding].compress(head + values)
    headers = {LENGTH: str(len(head)), "content-encoding": encoding}
    answer = asked.post("/v2/models/echo-float32/infer", content=packed, headers=headers)
    assert answer.json()["outputs"][0]["data"] == [1.5, -2.5, 4.0]


@given(st.binary(max_size=200), st.sampled_from(["", "0", "5", "50"]))
@settings(max_examples=150)
def test_no_body_breaks_the_server(asked, body, length):
    answer = asked.post(
        "/v2/models/echo-string/infer", content=body, headers={LENGTH: length} if length else {}
    )
    assert 400 <= answer.status_code < 500


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=4),
        max_leaves=12,
    ),
    st.lists(st.integers(-2, 4), max_size=3),
    st.sampled_from(["int8", "float16", "string", "bool", "uint64"]),
)
@settings(max_examples=200)
def test_any_data_is_taken_exactly_or_refused(asked, data, shape, dtype):
    one = {"name": "x", "shape": shape, "datatype": DATATYPES[dtype], "data": data}
    body = json.dumps({"inputs": [one]}).encode()
    answer = asked.post(f"/v2/models/echo-{dtype}/infer", content=body)
    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        assert answer.json()["outputs"][0]["shape"] == shape
