"""Refusals have the form and the status of the protocol of their path, whatever was sent."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.bundles import linear_bundle
from support.echo_models import echo_bundle
from support.hosted_app import hosted, served_from

DIGITS = "9" * 5000
"""More than Python reads as a number."""

ROW = b'{"data":[[5.1,3.5,1.4,0.2]]}'


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    served = served_from(linear_bundle(tmp_path_factory.mktemp("refusals") / "iris"))
    return hosted(served, vertex_predict_route="/vertex", vertex_health_route="/healthy")


@pytest.mark.parametrize(
    ("path", "status", "keys"),
    [
        (f"/v2/models/iris/versions/{DIGITS}/infer", 404, {"error"}),
        (f"/v1/models/iris/versions/{DIGITS}:predict", 400, {"error"}),
        (f"/models/iris/versions/{DIGITS}/predict", 400, {"error", "code"}),
    ],
)
def test_a_version_of_thousands_of_digits_is_refused(client, path, status, keys):
    answer = client.post(path, content=ROW)
    assert answer.status_code == status
    assert answer.json().keys() == keys


def test_a_length_of_thousands_of_digits_is_refused(client):
    headers = {"inference-header-content-length": DIGITS}
    answer = client.post("/v2/models/iris/infer", content=b"{}", headers=headers)
    assert answer.status_code == 400
    assert answer.json().keys() == {"error"}


@pytest.mark.parametrize("data", [f"[{DIGITS},1,1,1]", f'["a",{DIGITS}]', "[" * 900 + "1" + "]" * 900])
def test_a_value_of_thousands_of_digits_or_lists_is_refused(client, data):
    tensor = f'{{"name":"X","datatype":"FP32","shape":[1,4],"data":{data}}}'
    answer = client.post("/v2/models/iris/infer", content=f'{{"inputs":[{tensor}]}}')
    assert answer.status_code == 400
    assert "input `X`" in answer.json()["error"]


NOT_UTF_8 = {
    "/predict": (
        b'{"data": "\xff"}',
        b'{"data": [["\xff", 1, 1, 1]]}',
        b'{"\xff": 1}',
        b'{"data": [{"\xff": 1}]}',
    ),
    "/v2/models/iris/infer": (
        b'{"inputs": [{"name": "\xff", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}',
        b'{"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 4], "data": ["\xff", 1, 1, 1]}]}',
        b'{"inputs": [], "id": "\xff"}',
        b'{"inputs": [], "parameters": {"\xff": 1}}',
        b'{"inputs": [{"name": "NaN", "datatype": "\xff", "shape": [1, 4], "data": [1, 1, 1, 1]}]}',
    ),
    "/v2/repository/index": (b'{"ready": "\xff"}', b'{"\xff": true, "ready": true'),
    "/v1/models/iris:predict": (b'{"instances": ["\xff"]}', b'{"signature_name": "\xff"}', b'{"\xff": NaN}'),
    "/v1/models/iris:classify": (b'{"examples": [{"x": "\xff"}]}',),
    "/invocations": (
        b'{"inputs": "\xff"}',
        b'{"dataframe_split": {"\xff": 1}}',
        b'{"instances": ["\xff"]}',
    ),
    "/models/iris/feedback": (
        b'{"request_id": "\xff", "label": "a"}',
        b'{"request_id": "a", "label": "\xff"}',
    ),
    "/vertex": (b'{"instances": ["\xff"]}',),
}


@pytest.mark.parametrize("path", NOT_UTF_8)
def test_text_that_is_not_utf_8_is_refused_as_such(client, path):
    for body in NOT_UTF_8[path]:
        for content in (body, body + b" " * 5000):  # Large bodies are read in another way.
            answer = client.post(path, content=content, headers={"content-type": "application/json"})
            assert answer.status_code == 400, (body, answer.text)
            assert "internal" not in answer.text
            # The index expects no text at all, and says so first.
            assert "not UTF-8 (byte 0xff)" in answer.text or path == "/v2/repository/index"


@pytest.mark.parametrize(
    ("path", "status", "keys"),
    [
        ("/predict", 405, {"error", "code"}),
        ("/v2/models/iris/infer", 405, {"error"}),
        ("/v1/models/iris:predict", 400, {"error"}),
        ("/invocations", 405, {"error_code", "message"}),
        ("/vertex", 405, {"error"}),
        ("/nowhere", 404, {"error", "code", "hint"}),
    ],
)
def test_another_method_is_refused_by_the_protocol_of_the_path(client, path, status, keys):
    answer = client.request("DELETE", path)
    assert answer.status_code == status
    assert answer.json().keys() == keys
    if status == 405:
        assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(("method", "path"), [("GET", "/docsandmore"), ("POST", "/openapi.json")])
def test_a_path_that_only_looks_like_documentation_is_not_found(client, method, path):
    answer = client.request(method, path)
    assert answer.status_code == 404
    assert answer.json()["code"] == "RouteNotFound"


MANY = [[5.1, 3.5, 1.4, 0.2]] * 60_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/predict", lambda rows: {"data": rows}),
        ("/v1/models/iris:predict", lambda rows: {"instances": rows}),
        ("/v1/models/iris:predict", lambda rows: {"instances": rows, "inputs": rows}),
        ("/invocations", lambda rows: {"dataframe_split": {"data": rows}}),
        ("/v2/models/iris/infer", lambda rows: {"inputs": [tensor_of(rows)]}),
    ],
)
def test_refusing_a_large_body_takes_about_as_long_as_reading_it(client, path, form):
    body = json.dumps(form([*MANY, [1, 2, 3, "a"]])).encode()

    def refuse() -> None:
        answer = client.post(path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert "[60000][3]" in answer.text or "only one of" in answer.text

    # Looking at every value by itself takes more than fifty times as long.
    assert cpu_of(refuse) < 40 * cpu_of(lambda: json.loads(body))


@pytest.mark.slow
def test_a_large_csv_is_read_in_about_the_time_of_its_parts(client):
    text = "\n".join(",".join(map(str, row)) for row in MANY)

    def predict() -> None:
        answer = client.post("/invocations", content=text, headers={"content-type": "text/csv"})
        assert len(answer.json()["predictions"]) == len(MANY)

    cells = text.replace("\n", ",").split(",")
    assert cpu_of(predict) < 20 * cpu_of(lambda: list(map(float, cells)))


def tensor_of(rows):
    return {"name": "X", "datatype": "FP32", "shape": [len(rows), 4], "data": rows}


def cpu_of(act) -> float:
    """Return the seconds of CPU of the quicker of two calls."""
    seconds = []
    for _ in range(2):
        began = time.process_time()
        act()
        seconds.append(time.process_time() - began)
    return min(seconds)


GOOD = {
    "/predict": (
        ROW,
        b'{"data":[{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}]}',
    ),
    "/predict/label": (ROW,),
    "/models/iris/predict": (b'{"data":[[5.1,3.5,1.4,0.2]],"outputs":["label"]}',),
    "/models/iris/feedback": (b'{"request_id":"a-1","label":"setosa"}',),
    "/v2/models/iris/infer": (
        b'{"inputs":[{"name":"X","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}',
        b'{"id":"a","inputs":[{"name":"X","shape":[1,4],"datatype":"FP32","data":[[5.1,NaN,1.4,0.2]]}]}',
        b'{"parameters":{"binary_data_output":true},"outputs":[{"name":"label","parameters":{"a":1}}],"inputs":[]}',
    ),
    "/v2/repository/index": (b'{"ready":true}',),
    "/v1/models/iris:predict": (
        b'{"instances":[[5.1,3.5,1.4,0.2]]}',
        b'{"signature_name":"serving_default","inputs":{"X":[[5.1,3.5,1.4,NaN]]}}',
        b'{"instances":[{"X":[5.1,3.5,1.4,0.2]}]}',
    ),
    "/v1/models/iris:classify": (
        b'{"context":{},"examples":[{"sepal_length":5.1,"sepal_width":{"b64":"aGk="}}]}',
    ),
    "/v1/models/iris:regress": (b'{"examples":[{"sepal_length":[5.1]}]}',),
    "/invocations": (
        b'{"inputs":[[5.1,3.5,1.4,0.2]]}',
        b'{"dataframe_split":{"columns":["petal_length","petal_width"],"data":[[1.4,0.2]]}}',
        b'{"dataframe_records":[{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}]}',
        b"sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n",
    ),
    "/vertex": (b'{"instances":[[5.1,3.5,1.4,0.2]],"parameters":{"a":1}}',),
}
"""Bodies of every form that each prediction route takes."""

ODD = [
    b'"',
    b"\\",
    b"\xff",
    b"\x00",
    b"\\ud800",
    b"{",
    b"]",
    b",",
    b"null",
    b"1e999",
    b"-",
    b"NaN",
    DIGITS.encode(),
]
CHANGES = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 6), st.sampled_from(ODD) | st.binary(max_size=3)),
    min_size=1,
    max_size=3,
)


@pytest.mark.slow
@settings(max_examples=150)
@given(changes=CHANGES, large=st.booleans())
@pytest.mark.parametrize("path", GOOD)
def test_a_slightly_changed_body_is_no_server_error(client, path, changes, large):
    for good in GOOD[path]:
        body = good
        for where, gone, put in changes:
            at = int(where * len(body))
            body = body[:at] + put + body[at + gone :]
        kind = "text/csv" if good[:1] != b"{" else "application/json"
        answer = client.post(path, content=body + b" " * 5000 * large, headers={"content-type": kind})
        assert answer.status_code < 500 or answer.status_code == 501, (body, answer.text)
        assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/models/echo/infer", '{"id": "NaN \\ud800", "inputs": [%s]}'),
        ("/v2/models/echo/infer", '{"id": "NaN", "parameters": {"\\uDfff": 1}, "inputs": [%s]}'),
        ("/v1/models/echo:predict", '{"instances": [["NaN \\ud800"]]}%.0s'),
    ],
)
def test_half_a_surrogate_pair_is_refused(tmp_path, path, body):
    client = hosted(served_from(echo_bundle(tmp_path / "echo", "string", "echo", ("batch", 1))))
    tensor = '{"name": "x", "shape": [1, 1], "datatype": "BYTES", "data": ["a"]}'
    answer = client.post(path, content=(body % tensor).encode())
    assert answer.status_code == 400, answer.text
