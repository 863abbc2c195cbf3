"""The client against real servers: a lading of its own, one that is not lading, and none at all."""

from __future__ import annotations

import http.server
import socket
import threading
import time

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading import Client
from lading.client import plain
from lading.errors import InvalidSetting, RemoteError, ServerUnavailable, UsageError, ValueRefused
from lading.registry import Registry
from support import ports
from support.bundles import IRIS, IRIS_COLUMNS, linear_bundle, linear_rows
from support.server_process import serving


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return linear_bundle(tmp_path_factory.mktemp("client") / "iris.bundle")


@pytest.fixture(scope="module")
def url(bundle, tmp_path_factory):
    """Return the address of a server of two versions of iris, and a model without columns or labels."""
    folder = tmp_path_factory.mktemp("registry")
    with Registry.open(str(folder)) as registry:
        registry.push(bundle)
        registry.push(linear_bundle(folder / "second", seed=1), tags=("stable",))
        registry.push(linear_bundle(folder / "plain", "plain", features=2, classes=2, labels=False))
    refs = ("iris:1", "iris:2", "plain:1")
    with serving(*refs, flags=("--registry", str(folder), "--default-model", "plain", "--jobs")) as server:
        yield server.url


@pytest.fixture
def client(url):
    with Client(url, model="iris:1") as client:
        yield client


@pytest.fixture(scope="module")
def golden(bundle):
    return bundle.samples()


@pytest.mark.slow
def test_a_job_is_submitted_waited_for_and_answered_as_a_prediction(client, golden):
    job = client.submit(golden.inputs["X"], priority=3, key="once")
    assert (job.model, job.priority) == ("iris", 3)
    assert client.submit(golden.inputs["X"], priority=3, key="once").id == job.id
    prediction = client.wait(job, timeout_s=60)
    assert prediction.values == client.predict(golden.inputs["X"]).values
    assert prediction.model == "iris:1"
    ended = client.job(job.id)
    assert (ended.state, ended.status, ended.has_ended) == ("done", 200, True)
    named = client.wait(client.submit(golden.inputs["X"], ["label"]).id, timeout_s=60)
    assert list(named.outputs) == ["label"]
    with pytest.raises(RemoteError, match="found one that is done") as caught:
        client.cancel(job)
    assert caught.value.status == 409
    with pytest.raises(RemoteError, match="expected a job, found none") as caught:
        client.wait("nothing")
    assert caught.value.status == 404


def test_a_job_that_has_not_ended_in_time_says_so(monkeypatch):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = b'{"id": "1", "model": "iris", "state": "waiting", "new": 1}'
            self.send_response(202 if self.path.endswith("/result") else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with Client(f"http://127.0.0.1:{server.server_port}") as client:
            assert not client.job("1").has_ended
            with pytest.raises(
                ServerUnavailable, match=r"job `1`: expected a result within 0\.1 s, found none"
            ):
                client.wait("1", timeout_s=0.1)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
def test_predictions_are_those_of_the_training_environment(client, golden):
    prediction = client.predict(golden.inputs["X"])
    np.testing.assert_allclose(prediction.values, golden.outputs["probabilities"], rtol=1e-5)
    assert len(prediction) == golden.rows


@pytest.mark.slow
def test_one_row_is_answered_by_one_result(client, url):
    assert len(client.predict([[5.1, 3.5, 1.4, 0.2]]).values) == 1
    with Client(url) as of_default:
        assert np.shape(of_default.predict([[1.0, 2.0]]).values) == (1, 2)


@pytest.mark.slow
def test_a_prediction_names_the_bundle_that_gave_it(client, bundle):
    prediction = client.predict(linear_rows(rows=1))
    assert (prediction.model, prediction.digest) == ("iris:1", bundle.digest)
    assert prediction.request_id
    assert prediction[0] == next(iter(prediction)) == prediction.values[0]


@pytest.mark.slow
def test_arrays_lists_objects_and_data_frames_give_the_same(client):
    rows = linear_rows(rows=3)
    frame = pd.DataFrame(rows, columns=IRIS_COLUMNS)
    forms = [rows, rows.tolist(), [*rows], tuple(map(tuple, rows)), frame, frame.to_dict(orient="records")]
    answers = [client.predict(form).values for form in [*forms, {"X": rows}]]
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.slow
def test_named_outputs_are_returned_by_name(client, golden):
    prediction = client.predict(golden.inputs["X"], outputs=["label", "probabilities"])
    assert list(prediction.outputs) == ["label", "probabilities"]
    assert prediction.values == prediction.outputs["label"] == golden.outputs["label"].tolist()


@pytest.mark.slow
def test_labels_are_predicted_by_name(client, golden):
    expected = [IRIS[at] for at in golden.outputs["label"]]
    assert client.predict_label(golden.inputs["X"]).values == expected
    assert client.labels() == dict(zip("012", IRIS, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("ref", ["iris:2", "iris:stable", "iris"])
def test_versions_and_tags_are_reached_by_reference(url, ref):
    with Client(url, model=ref) as client:
        assert client.predict(linear_rows(rows=1)).model == "iris:2"


def test_metadata_models_and_health_are_answered(client, bundle):
    metadata = client.metadata()
    assert (metadata["name"], metadata["version"], metadata["digest"]) == ("iris", 1, bundle.digest)
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["X"]
    assert {version["name"] for version in client.models()} == {"iris", "plain"}
    assert client.health()["health"] == "ok"


@pytest.mark.slow
def test_a_refused_value_comes_with_its_sentence_and_code(client):
    with pytest.raises(RemoteError, match=r"`\$\.data\[0\]") as caught:
        client.predict([[5.1, "wide", 1.4, 0.2]])
    assert (caught.value.status, caught.value.code) == (400, "ValueRefused")


@pytest.mark.slow
def test_an_unknown_model_is_not_found(url):
    with Client(url, model="irsi") as client, pytest.raises(RemoteError) as caught:
        client.predict([[1.0]])
    assert (caught.value.status, caught.value.code) == (404, "ModelNotFound")


@pytest.mark.slow
def test_labels_of_a_model_without_any_are_not_found(url):
    with Client(url, model="plain") as client, pytest.raises(RemoteError) as caught:
        client.labels()
    assert caught.value.status == 404


def test_several_threads_can_share_a_client(client):
    answers: list[list[float]] = []

    def ask():
        answers.append(client.predict([[1.0, 2.0, 3.0, 4.0]]).values[0])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.slow
def test_a_stopped_server_is_unavailable(tmp_path):
    folder = linear_bundle(tmp_path / "iris.bundle").path
    with serving(folder, ready=False) as server:
        server.wait_ready()
        with Client(server.url) as client:
            assert client.predict(linear_rows(rows=1)).model == "iris"
    with Client(server.url) as client, pytest.raises(ServerUnavailable):
        client.health()


def test_nan_and_missing_values_are_sent_as_null():
    frame = pd.DataFrame({"a": [1.5, np.nan], "b": pd.array([1, pd.NA], dtype="Int64"), "c": ["x", None]})
    assert plain(frame) == [{"a": 1.5, "b": 1, "c": "x"}, {"a": None, "b": None, "c": None}]
    assert plain(np.array([[1.0, np.nan]], dtype=np.float32)) == [[1.0, None]]
    assert plain([float("nan"), pd.NaT, np.float64("nan")]) == [None, None, None]


def test_numpy_scalars_and_subclasses_become_plain_values():
    sent = plain([np.float32(0.5), np.int8(-3), np.bool_(True), np.str_("a"), np.array(["b"], dtype=object)])
    assert sent == [0.5, -3, True, "a", ["b"]]
    assert [type(value) for value in sent] == [float, int, bool, str, list]
    assert plain(pd.Series([1, 2])) == [1, 2]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (np.array([[1.0, np.inf]]), r"`\$\.data\[0\]\[1\]`.*infinity"),
        ([{"a": [1.0, float("-inf")]}], r"`\$\.data\[0\]\.a\[1\]`.*-infinity"),
        ([b"text"], r"`\$\.data\[0\]`.*`bytes`"),
        ([[2**64]], r"`\$\.data\[0\]\[0\]`.*64 bits"),
        ([{1, 2}], "`set`"),
        ([np.datetime64("2026-11-20")], "`date`"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns called `a`"),
    ],
)
def test_a_value_that_json_cannot_hold_is_refused_with_its_path(data, sentence):
    with pytest.raises(ValueRefused, match=sentence):
        plain(data)


@pytest.mark.slow
def test_a_lone_surrogate_is_refused(client):
    with pytest.raises(ValueRefused, match="surrogate"):
        client.predict([["\ud800"]])


@given(st.lists(st.floats(width=32, allow_infinity=False), min_size=1))
def test_floats_arrive_unchanged(values):
    array = np.array(values, dtype=np.float32)
    sent = msgspec.json.decode(msgspec.json.encode(plain(array)))
    arrived = np.array([np.nan if value is None else value for value in sent], dtype=np.float32)
    assert np.array_equal(array, arrived, equal_nan=True)


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_integers_arrive_unchanged(values):
    assert msgspec.json.decode(msgspec.json.encode(plain(np.array(values, dtype=np.int64)))) == values


def test_an_address_without_a_server_is_unavailable(free_port):
    client = Client(f"http://127.0.0.1:{free_port}", model="iris")
    with client, pytest.raises(ServerUnavailable, match="cannot be reached") as caught:
        client.predict([[1.0]])
    assert "lading serve" in (caught.value.hint or "")


def test_a_get_is_retried_while_the_server_starts(free_port, monkeypatch):
    servers: list[http.server.HTTPServer] = []

    def start_server(_seconds: float) -> None:
        if not servers:
            servers.append(_other_server(free_port, b'{"health":"ok"}'))

    monkeypatch.setattr("lading.client.time.sleep", start_server)
    with Client(f"http://127.0.0.1:{free_port}", model="iris") as client:
        with pytest.raises(ServerUnavailable):
            client.predict([[1.0]])  # sent once, whatever happens
        assert not servers
        assert client.health() == {"health": "ok"}
    servers[0].shutdown()
    servers[0].server_close()


def test_a_server_that_does_not_answer_is_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with Client(address, timeout_s=0.2) as client, pytest.raises(ServerUnavailable, match=r"0\.2 s"):
            client.health()
    # Far above 0.2 s, because this machine may be busy, and below the default of 30 s.
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[1, 2]", b'{"something": "else"}'])
def test_a_server_that_is_not_lading_is_recognised(free_port, body):
    other = _other_server(free_port, body)
    try:
        with Client(f"http://127.0.0.1:{free_port}", model="iris") as client:
            with pytest.raises(RemoteError, match="expected JSON of lading") as caught:
                client.health()
            assert caught.value.hint == "is this a lading server?"
            with pytest.raises(RemoteError):
                client.predict([[1.0]])
    finally:
        other.shutdown()
        other.server_close()


@pytest.mark.slow
def test_a_password_in_the_address_is_never_shown(free_port):
    with (
        Client(f"http://ann:secret@127.0.0.1:{free_port}") as client,
        pytest.raises(ServerUnavailable) as caught,
    ):
        client.predict([[1.0]])
    assert "secret" not in str(caught.value)
    with pytest.raises(InvalidSetting) as bad:
        Client("ftp://ann:secret@127.0.0.1")
    assert "secret" not in str(bad.value)


@pytest.mark.slow
@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "http://", "ftp://host", "http://host:port"])
def test_an_invalid_address_is_refused(url):
    with pytest.raises(InvalidSetting, match="expected `http://host:port`"):
        Client(url)


@pytest.mark.slow
def test_a_digest_is_no_route(url):
    with pytest.raises(UsageError, match="found a digest"):
        Client(url, model="iris@sha256:" + "0" * 64)


@pytest.fixture
def free_port():
    return ports.free_port()


def _other_server(port: int, body: bytes) -> http.server.HTTPServer:
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the standard library's name

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", port), Other)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server
