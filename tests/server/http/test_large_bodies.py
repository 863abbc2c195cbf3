"""Large bodies: answered as others are, in a process of their own, and nobody waits for them."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import Path

import httpx
import numpy as np
import pytest

from lading.server.http.app import App
from lading.server.http.large_bodies import LargeBodies, text_bytes
from lading.server.http.messages import Request
from lading.server.inference.job import Job
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.echo_models import sum_bundle
from support.hosted_app import AppClient, gated, hosted, served_from
from support.http_requests import SETTINGS, request
from support.model_code import children
from support.server_process import serving
from support.small_models import people
from support.waiting import wait_until
from support.wire import Wire, listening

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.2, 2.9, 4.3, 1.3]]
CSV = b"sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n"


def elsewhere(*versions, **settings) -> AppClient:
    """Build the application over `versions`; every body is large to it."""
    app = hosted(*versions, **settings).app
    large = LargeBodies(
        app.pipeline, ServeSettings(**settings), slow_bytes=-1, quick_bytes=-1, packed_bytes=-1
    )
    return AppClient(App(app.pipeline, app.router, app.max_body_bytes, app.cors, large))


def readers() -> list[int]:
    """List the processes that read bodies for this one."""
    pids = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # It has ended meanwhile.
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"body_reader" in (status.parent / "cmdline").read_bytes():
                pids.append(int(status.parent.name))
    return pids


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Return two versions of iris, a model with text, and one with two inputs."""
    folder = tmp_path_factory.mktemp("large")
    return [
        served_from(linear_bundle(folder / "1", seed=1), 1),
        served_from(linear_bundle(folder / "2", seed=2), 2, ("live", "canary")),
        served_from(people(folder / "people")),
        served_from(sum_bundle(folder / "sum")),
    ]


@pytest.fixture(scope="module")
def clients(versions):
    return hosted(*versions), elsewhere(*versions)


def oip(name, data, shape, **more):
    return {"inputs": [{"name": name, "datatype": "FP32", "shape": shape, "data": data}], **more}


PAIR = {"a": [[1, 2]], "b": [[3, 4]]}
JSON_BODIES = [
    ("/models/iris/predict", {"data": ROWS}),
    ("/models/iris/versions/1/predict", {"data": ROWS}),
    ("/models/iris/tags/canary/predict", {"data": ROWS, "outputs": ["label"]}),
    ("/models/iris/predict", {"data": [[1, 2, 3, "4"]]}),
    ("/models/iris/predict", {"data": [[1, 2, 3]], "more": 1}),
    ("/models/iris/predict", {"data": []}),
    ("/models/iris/predict/label", {"data": ROWS}),
    ("/predict", {"data": ROWS[:1]}),
    ("/models/nobody/predict", {"data": ROWS}),
    ("/models/iris/versions/9/predict", {"data": ROWS}),
    ("/models/iris/tags/old/predict", {"data": ROWS}),
    ("/models/people/predict", {"data": [{"age": 41, "city": "서울"}, {"age": 7, "city": "Zürich\n"}]}),
    ("/models/people/predict", {"data": [{"age": 41}]}),
    ("/models/sum/predict", {"data": PAIR}),
    ("/v1/models/iris:predict", {"instances": ROWS}),
    ("/v1/models/iris:predict", {"inputs": ROWS}),
    ("/v1/models/iris/labels/stable:predict", {"instances": ROWS}),
    ("/v1/models/iris/labels/canary:predict", {"instances": ROWS}),
    ("/v1/models/iris/labels/nothing:predict", {"instances": ROWS}),
    ("/v1/models/nobody:predict", {"instances": ROWS}),
    ("/v1/models/iris:predict", {"instances": "no"}),
    ("/v1/models/iris:classify", {"examples": [{"x": 1}]}),
    ("/v2/models/iris/infer", oip("X", ROWS, [2, 4])),
    ("/v2/models/iris/versions/1/infer", oip("X", [*ROWS[0], *ROWS[1]], [2, 4], id="7")),
    ("/v2/models/iris/infer", oip("X", ROWS, [2, 5])),
    ("/v2/models/iris/infer", oip("X", ROWS, [2, 4], outputs=[{"name": "nothing"}])),
    (
        "/v2/models/iris/infer",
        oip("X", ROWS, [2, 4], outputs=[{"name": "label", "parameters": {"binary_data": True}}]),
    ),
    ("/invocations", {"dataframe_records": [{"sepal_length": 1}]}),
    ("/invocations", {"instances": ROWS}),
    ("/invocations", {"instances": ROWS, "params": {"outputs": ["label"]}}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "body"), JSON_BODIES, ids=lambda value: str(value)[:60])
def test_a_body_that_is_read_elsewhere_is_answered_alike(clients, path, body):
    here, there = (client.post(path, json=body) for client in clients)
    assert (there.status_code, there.content) == (here.status_code, here.content)
    headers = [dict(answer.headers) for answer in (here, there)]
    for each in headers:
        assert each.pop("x-request-id")
    assert headers[0] == headers[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "content", "headers"),
    [
        ("/models/iris/predict", b"{", {}),
        ("/models/iris/predict", b"\xff", {}),
        ("/models/iris/predict", b"[" * 100_000, {}),
        ("/models/iris/predict", b'{"data":[[NaN,1,2,3]]}', {}),
        (
            "/models/iris/predict",
            gzip.compress(b'{"data":[[1,2,3,4]]}', mtime=0),
            {"content-encoding": "gzip"},
        ),
        ("/models/iris/predict", b"no gzip", {"content-encoding": "gzip"}),
        ("/models/iris/predict", b"{}", {"content-encoding": "br"}),
        ("/invocations", CSV, {"content-type": "text/csv"}),
        ("/invocations", b'{"age":1}\n{"age":2}', {"content-type": "application/jsonlines"}),
        ("/invocations", CSV, {"content-type": "text/csv", "accept": "application/x-npy"}),
        ("/invocations", CSV, {"content-type": "text/html"}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_other_content_is_answered_alike(clients, path, content, headers):
    headers = {"content-type": "application/json", **headers}
    here, there = (client.post(path, content=content, headers=headers) for client in clients)
    assert (there.status_code, there.content) == (here.status_code, here.content)


@pytest.mark.slow
def test_a_request_in_flight_fails_with_the_process_that_reads_and_the_next_does_not(versions):
    iris = versions[1]
    model, runtime = iris.model, gated(iris, 30)
    client = elsewhere(*versions)
    answers = []
    asking = threading.Thread(
        target=lambda: answers.append(client.post("/models/iris/predict", json={"data": ROWS}))
    )
    try:
        before = set(readers())
        asking.start()
        wait_until(runtime.entered.is_set)
        (reader,) = set(readers()) - before
        os.kill(reader, signal.SIGKILL)
        runtime.gate.set()
        asking.join()
        assert answers[0].status_code == 500
        assert "ended (SIGKILL (9))" in answers[0].json()["error"]
        assert client.post("/models/iris/predict", json={"data": ROWS}).status_code == 200
    finally:
        runtime.gate.set()
        iris.adopt(model)


@pytest.mark.slow
def test_a_process_that_ended_while_it_had_nothing_to_read_is_replaced(versions):
    client, before = elsewhere(*versions), set(readers())
    first = client.post("/models/iris/predict", json={"data": ROWS})
    (reader,) = set(readers()) - before
    os.kill(reader, signal.SIGKILL)
    wait_until(lambda: Path(f"/proc/{reader}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
    again = client.post("/models/iris/predict", json={"data": ROWS})
    assert again.status_code == 200, again.text
    assert again.content == first.content


def test_a_body_that_is_not_read_within_the_deadline_is_answered_with_504(versions):
    answer = elsewhere(*versions, deadline_s=0.001).post("/models/iris/predict", json={"data": ROWS})
    assert answer.status_code == 504
    assert "answered in time" in answer.json()["error"]


@pytest.mark.slow
def test_more_large_bodies_than_may_wait_are_refused(versions):
    iris = versions[1]
    model, runtime = iris.model, gated(iris, 30)
    client, statuses = elsewhere(*versions), []
    threads = [
        threading.Thread(
            target=lambda: statuses.append(
                client.post("/models/iris/predict", json={"data": ROWS}).status_code
            )
        )
        for _ in range(20)
    ]
    try:
        for thread in threads:
            thread.start()
        wait_until(lambda: len(statuses) == 4)  # Sixteen wait.
        runtime.gate.set()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [200] * 16 + [429] * 4
    finally:
        runtime.gate.set()
        iris.adopt(model)


@pytest.mark.parametrize(
    ("headers", "size"),
    [
        ({}, 1000),
        ({b"content-type": b"application/json"}, 1000),
        ({b"content-type": b"text/csv; charset=utf-8"}, 1000),
        ({b"inference-header-content-length": b"70"}, 70),
        ({b"inference-header-content-length": b"9" * 30}, 1000),
        ({b"inference-header-content-length": b"-1"}, 1000),
        ({b"content-type": b"application/octet-stream"}, 0),
        ({b"content-type": b"application/x-npy"}, 0),
    ],
)
def test_only_text_is_slow_to_read(headers, size):
    assert text_bytes(Request("POST", "/", b" " * 1000, headers)) == size


@pytest.mark.slow
def test_a_model_that_outlasts_the_deadline_is_answered_with_504_in_time_and_the_next_is_read(versions):
    iris = versions[1]
    client, model = elsewhere(*versions, deadline_s=30.0), iris.model
    assert client.post("/models/iris/predict", json={"data": ROWS}).status_code == 200
    runtime = gated(iris, 30)
    client.app.plane.deadline_s = 3.0  # Not for the process to start.
    try:
        began = time.monotonic()
        assert client.post("/models/iris/predict", json={"data": ROWS}).status_code == 504
        assert time.monotonic() - began < 4
    finally:
        runtime.gate.set()
        iris.adopt(model)
    assert client.post("/models/iris/predict", json={"data": ROWS}).status_code == 200


def test_nothing_is_read_for_a_client_that_has_gone(versions):
    app, before, delivered = hosted(*versions).app, set(readers()), []
    gone = Request("POST", "/models/iris/predict", json.dumps({"data": ROWS}).encode())
    gone.route, gone.params = app.router.find(gone.method, gone.path)
    gone.is_gone = True
    LargeBodies(app.pipeline, ServeSettings()).submit(gone, delivered.extend)
    wait_until(lambda: delivered)
    assert app.complete(delivered[0]).status == 499
    assert set(readers()) == before


@pytest.mark.slow
def test_the_sweep_leaves_the_deadline_of_a_large_body_to_its_thread(versions):
    iris, settings = versions[1], {**SETTINGS, "deadline_s": 30.0}
    client, model = elsewhere(*versions, **settings), iris.model
    assert client.post("/models/iris/predict", json={"data": ROWS}).status_code == 200
    app, runtime = client.app, gated(iris, 30)
    app.plane.deadline_s = 2.0  # Not for the process to start.
    try:
        with listening(app, ServeSettings(**settings), fast=True) as host, host.wire() as wire:
            wire.send(request(json.dumps({"data": ROWS}).encode(), "/models/iris/predict"))
            wait_until(runtime.entered.is_set)
            (connection,) = host.connections
            waiting = connection.cycle.request
            # The moment after the deadline, in which the thread has not finished yet.
            overdue = Job(iris, {}, None, lambda _outputs: None)
            overdue.deadline, overdue.exchange, waiting.job = 1e-9, copy(waiting), overdue
            host.run_in_loop(connection.sweep, host.loop.time())
            waiting.job = None
            assert wire.answer().status == 504
    finally:
        runtime.gate.set()
        iris.adopt(model)


@pytest.mark.slow
def test_a_slow_models_large_body_does_not_delay_that_of_another_model(versions):
    """Both bodies are large, and are read by one process."""
    iris, settings = versions[1], {**SETTINGS, "deadline_s": 30.0}
    app, model, runtime = elsewhere(*versions, **settings).app, iris.model, gated(iris, 30)
    slow = request(json.dumps({"data": ROWS}).encode(), "/models/iris/predict")
    quick = request(json.dumps({"data": PAIR}).encode(), "/models/sum/predict")
    try:
        with listening(app, ServeSettings(**settings), fast=True) as host, host.wire() as first:
            first.send(slow)
            wait_until(runtime.entered.is_set)
            for _ in range(3):
                with host.wire() as second:
                    second.send(quick)
                    assert second.answer().status == 200
            assert not first.has_answer()
            runtime.gate.set()
            assert first.answer().status == 200
    finally:
        runtime.gate.set()
        iris.adopt(model)


@pytest.mark.slow
def test_each_large_body_has_a_deadline_of_its_own_while_another_is_read(versions):
    settings = {**SETTINGS, "deadline_s": 10.0}
    client, before = elsewhere(*versions, **settings), set(readers())
    assert client.post("/models/iris/predict", json={"data": ROWS}).status_code == 200
    (reader,) = set(readers()) - before
    client.app.plane.deadline_s = 1.0
    body = request(json.dumps({"data": ROWS}).encode(), "/models/iris/predict")
    with listening(client.app, ServeSettings(**settings), fast=True) as host:
        os.kill(reader, signal.SIGSTOP)  # It reads for as long as it likes.
        began = time.monotonic()
        with host.wire() as first, host.wire() as second:
            first.send(body)
            second.send(body)
            assert [first.answer().status, second.answer().status] == [504, 504]
        assert time.monotonic() - began < 4
        # Given up by then, and started again.
        wait_until(lambda: reader not in readers())
        client.app.plane.deadline_s = 30.0
        with host.wire() as third:
            third.send(body)
            assert third.answer().status == 200


@pytest.mark.slow
def test_a_client_that_goes_away_frees_its_place(versions):
    iris, settings = versions[1], {**SETTINGS, "deadline_s": 30.0}
    app, model, runtime = elsewhere(*versions, **settings).app, iris.model, gated(iris, 30)
    slow = request(json.dumps({"data": ROWS}).encode(), "/models/iris/predict")
    quick = request(json.dumps({"data": PAIR}).encode(), "/models/sum/predict")
    try:
        with listening(app, ServeSettings(**settings), fast=True) as host, host.wire() as late:

            def status() -> int:
                late.send(quick)
                return late.answer().status

            wires = [Wire(host.address) for _ in range(16)]
            for wire in wires:
                wire.send(slow)
                host.wait_read(wire)
            assert status() == 429
            wires[-1].close()
            wait_until(lambda: status() == 200)
            runtime.gate.set()
            assert [wire.answer().status for wire in wires[:-1]] == [200] * 15
            for wire in wires[:-1]:
                wire.close()
    finally:
        runtime.gate.set()
        iris.adopt(model)


@pytest.mark.slow
def test_the_end_of_the_process_that_reads_fails_all_it_kept_and_nothing_else(versions):
    iris, settings = versions[1], {**SETTINGS, "deadline_s": 30.0}
    before, model = set(readers()), iris.model
    app, runtime = elsewhere(*versions, **settings).app, gated(iris, 30)
    body = request(json.dumps({"data": ROWS}).encode(), "/models/iris/predict")
    quick = request(json.dumps({"data": PAIR}).encode(), "/models/sum/predict")
    try:
        with listening(app, ServeSettings(**settings), fast=True) as host:
            wires = [Wire(host.address) for _ in range(3)]
            for wire in wires:
                wire.send(body)
            with host.wire() as other:  # Read behind them.
                other.send(quick)
                assert other.answer().status == 200
                (reader,) = set(readers()) - before
                os.kill(reader, signal.SIGKILL)
                other.send(quick)
                assert other.answer().status == 200
                assert reader not in readers()
                runtime.gate.set()
                answers = [wire.answer() for wire in wires]
                assert [answer.status for answer in answers] == [500] * 3
                assert {answer.json()["error"] for answer in answers} == {
                    "the body: expected to be read, found that the process that reads large bodies ended"
                }
                other.send(body)
                assert other.answer().status == 200
            for wire in wires:
                wire.close()
    finally:
        runtime.gate.set()
        iris.adopt(model)


@pytest.mark.slow
def test_a_server_outlives_large_bodies_that_pass_their_deadline(tmp_path):
    linear_bundle(tmp_path / "iris")
    body = b'{"data":[' + b",".join([b"[1.5,2.5,3.5,4.5]"] * 400_000) + b"]}"
    headers = {"content-type": "application/json"}
    with serving(tmp_path / "iris", flags=("--deadline-s", "0.1")) as server:
        statuses = [
            httpx.post(f"{server.url}/predict", content=body, headers=headers, timeout=60).status_code
            for _ in range(8)
        ]
        assert set(statuses) <= {200, 504}
        assert 504 in statuses
        assert httpx.get(f"{server.url}/health").status_code == 200
        assert server.stop() == 0


@pytest.mark.slow
def test_the_head_of_a_large_body_is_remembered_as_any_other(tmp_path):
    linear_bundle(tmp_path / "iris")
    rows = [{"sepal_length": 1, "sepal_width": 2, "petal_length": 3, "petal_width": 4}] * 8000  # 550 kB
    with serving(tmp_path / "iris") as server:

        def ask(_number: int) -> int:
            # Equal heads, byte for byte: from the second on they are not parsed.
            with httpx.Client(base_url=server.url, timeout=60) as client:
                return client.post("/predict", json={"data": rows}).status_code

        with ThreadPoolExecutor(6) as clients:
            assert list(clients.map(ask, range(18))) == [200] * 18
        assert "failed" not in server.log


@pytest.mark.slow
def test_health_answers_while_a_large_body_is_read(tmp_path):
    # A machine stands still now and then, and seldom three times. On the event loop of a new server one wait
    # is as long as the whole body takes to read, each time.
    linear_bundle(tmp_path / "iris")
    rows = np.random.default_rng(0).normal(size=(60_000, 4)).round(6).tolist()
    body = json.dumps({"data": [*rows, [1, "x", 2, 3]]}).encode()  # No quick reader takes it.
    waits: list[list[float]] = []
    while not waits or max(waits[-1]) >= sum(waits[-1]) / 3:
        assert len(waits) < 3, [(max(each), sum(each)) for each in waits]
        waits.append(_waits_beside(tmp_path / "iris", body))


def _waits_beside(bundle: Path, body: bytes) -> list[float]:
    """Return how long each health check of a new server took while it read a body that it refuses."""
    headers = {"content-type": "application/json"}
    with serving(bundle) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        client.get("/health")
        with ThreadPoolExecutor(1) as thread:
            asked = thread.submit(
                httpx.post, f"{server.url}/models/iris/predict", content=body, headers=headers, timeout=60
            )
            waits = []
            while not asked.done():
                began = time.perf_counter()
                assert client.get("/health").status_code == 200
                waits.append(time.perf_counter() - began)
    answer = asked.result()
    assert answer.status_code == 400
    assert "`$.data[60000][1]`" in answer.json()["error"]
    return waits


BRACKETS = b"[" * (32 * 2**20)
"""They took 140 ms of the event loop, fourteen times as long as the json module needs for `OUTPUTS`."""
OUTPUTS = b'{"inputs":[{"name":"X","datatype":"FP32","shape":[1,4],"data":[5,3,1,0]}],"outputs":[%b]}' % (
    b",".join([b'{"name":"probabilities"}'] * 40_000)
)
"""They took longer than the json module needs."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "body"),
    [("/predict", BRACKETS), ("/v2/models/iris/infer", OUTPUTS)],
    ids=["brackets", "outputs"],
)
def test_small_compressed_bodies_that_become_large_keep_nobody_waiting(tmp_path, path, body):
    packed = gzip.compress(body)
    assert len(packed) < 2**15
    began = time.process_time()
    json.loads(OUTPUTS)
    own_s = time.process_time() - began  # What reading a megabyte of text costs on this machine.
    with serving(linear_bundle(tmp_path / "b").path, flags=("--workers", "1")) as server:
        headers = {"content-encoding": "gzip", "content-type": "application/json"}

        def send(_number: int) -> int:
            url = f"{server.url}{path}"
            return httpx.post(url, content=packed, headers=headers, timeout=60).status_code

        def busy_s() -> float:
            """Return the CPU time of the thread that has the event loop."""
            stat = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/stat").read_text()
            fields = stat.rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        send(0)
        before = busy_s()
        with ThreadPoolExecutor(4) as senders:
            assert set(senders.map(send, range(20))) == {400}
        assert busy_s() - before < 20 * own_s


def test_feedback_is_not_unpacked_beyond_what_it_may_have(versions):
    body = gzip.compress(b'{"request_id": "r", "label": "' + b"a" * 2**22 + b'"}')
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    answer = hosted(*versions).request("POST", "/models/iris/feedback", content=body, headers=headers)
    assert answer.status_code == 413
    assert "at most 1048576 bytes" in answer.text
    assert "only the bodies of predictions may become larger" in answer.text


@pytest.mark.slow
def test_the_process_that_reads_large_bodies_comes_behind_the_server_and_in_its_session(tmp_path):
    with serving(linear_bundle(tmp_path / "iris").path, flags=("--workers", "1")) as server:
        body = b'{"data":[' + b",".join([b"[1.5,2.5,3.5,4.5]"] * 200_000) + b"]}"
        headers = {"content-type": "application/json"}
        assert httpx.post(f"{server.url}/predict", content=body, headers=headers, timeout=60).is_success
        own = server.process.pid
        # The thread that starts it is its parent.
        (reader,) = children(own)
        assert os.getpriority(os.PRIO_PROCESS, reader) > os.getpriority(os.PRIO_PROCESS, own)
        assert os.getsid(reader) == os.getsid(own)  # Linux weighs sessions against each other.
        assert os.getpgid(reader) != os.getpgid(own)  # Ctrl-C is for the server.
