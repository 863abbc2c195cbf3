"""Spans of requests, as a collector receives them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lading.server.exchange import Pipeline, Steps
from lading.server.inference.callers import Callers
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import ServedVersion
from lading.server.observe.traces import Traces
from lading.server.process.compose import make_app, make_plane
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.grpc_client import OIP, grpc_serving, infer_bytes, one_row
from support.hosted_app import gated, served_from
from support.http_requests import SETTINGS, request
from support.otlp_receiver import Collector, attributes, collecting
from support.ports import free_port
from support.waiting import wait_until
from support.wire import Listening, listening

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def iris(tmp_path) -> ServedVersion:
    return served_from(linear_bundle(tmp_path / "iris"), 3)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def plane_of(*versions: ServedVersion) -> DataPlane:
    plane = make_plane(ServeSettings())
    plane.publish(versions)
    return plane


@contextlib.contextmanager
def traced(
    plane: DataPlane, url: str | None, counts: Counter[str] | None = None, share: float = 1.0
) -> Iterator[Traces]:
    counts = Counter() if counts is None else counts
    endpoint = f"{url}/v1/traces" if url is not None else None
    count = lambda name, spans: counts.update({name: spans})  # noqa: E731
    traces = Traces(plane, Callers(), endpoint, share, "host-1", count)
    try:
        yield traces
    finally:
        traces.close()


@contextlib.contextmanager
def listening_traced(plane: DataPlane, traces: Traces, *, fast: bool = True) -> Iterator[Listening]:
    settings = ServeSettings(**{**SETTINGS, "deadline_s": 20.0})
    app = make_app(plane, settings)
    app.pipeline = Pipeline(plane, app.metrics, Steps(observe=(traces.observe,)))
    with listening(app, settings, fast=fast) as host:
        yield host


def post(host: Listening, **headers: str) -> int:
    with host.wire() as wire:
        wire.send(request(path="/models/iris/predict", **headers))
        return wire.answer().status


@pytest.mark.parametrize("fast", [True, False])
def test_a_request_is_a_span_below_its_callers(iris, collector, fast):
    plane = plane_of(iris)
    with traced(plane, collector.url) as traces, listening_traced(plane, traces, fast=fast) as host:
        post(host, traceparent=PARENT, tracestate="vendor=1", x_request_id="r-1")
        (span,) = collector.wait(1)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    assert span.trace_state == "vendor=1"
    assert span.name == "POST /models/{name}/predict"
    facts = attributes(span)
    assert facts["http.request.method"] == "POST"
    assert facts["http.route"] == "/models/{name}/predict"
    assert facts["http.response.status_code"] == 200
    assert (facts["lading.model"], facts["lading.version"]) == ("iris", 3)
    assert facts["lading.digest"] == iris.digest
    assert (facts["lading.rows"], facts["lading.batch_rows"]) == (1, 1)
    assert facts["lading.request_id"] == "r-1"
    assert facts["client.address"] == "127.0.0.1"
    assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 60e9


def test_a_grpc_call_is_a_span_below_its_callers(iris, collector):
    plane = plane_of(iris)
    with traced(plane, collector.url) as traces:
        with grpc_serving(plane, steps=Steps(observe=(traces.observe,))) as (channel, _):
            call = channel.unary_unary(f"/{OIP}/ModelInfer")
            call(infer_bytes(**one_row()), metadata=(("traceparent", PARENT),), timeout=10)
            with pytest.raises(Exception, match="NOT_FOUND"):
                call(infer_bytes(**one_row("roses")), metadata=(("traceparent", PARENT),), timeout=10)
        good, bad = collector.wait(2)
    assert (good.trace_id.hex(), good.parent_span_id.hex()) == (TRACE, SPAN)
    assert good.name == f"{OIP}/ModelInfer"
    assert attributes(good)["rpc.system.name"] == "grpc"
    assert attributes(good)["rpc.method"] == f"{OIP}/ModelInfer"
    assert attributes(good)["rpc.response.status_code"] == "OK"
    assert attributes(bad)["error.type"] == "ModelNotFound"
    assert bad.status.code != bad.status.STATUS_CODE_ERROR, "it is the caller's own"


def test_requests_that_ran_as_one_have_spans_of_their_own_with_queue_and_run(iris, collector):
    plane = plane_of(iris)
    runtime = gated(iris, 20)
    with traced(plane, collector.url) as traces, listening_traced(plane, traces) as host:
        with ThreadPoolExecutor(4) as threads:
            first = threads.submit(post, host, traceparent=PARENT)
            assert runtime.entered.wait(10)  # It runs alone; the others wait, and then run as one.
            others = [threads.submit(post, host, traceparent=PARENT) for _ in range(3)]
            wait_until(lambda: plane.depth(iris) == 3, 10)
            runtime.release_entered()
            wait_until(lambda: len(runtime.rows) == 2, 10)
            runtime.release_entered()
            assert [answer.result() for answer in (first, *others)] == [200] * 4
        spans = collector.wait(4)
    assert sorted(attributes(span)["lading.batch_rows"] for span in spans) == [1, 3, 3, 3]
    by_id = {span.span_id: span for span in spans}
    for name in ("queue", "run"):
        children = collector.named(name)
        assert {child.parent_span_id for child in children} == by_id.keys()
        for child in children:
            parent = by_id[child.parent_span_id]
            assert parent.start_time_unix_nano <= child.start_time_unix_nano <= child.end_time_unix_nano
            assert child.end_time_unix_nano <= parent.end_time_unix_nano


def test_the_caller_decides_whether_its_trace_is_recorded(iris, collector):
    plane = plane_of(iris)
    with (
        traced(plane, collector.url, share=0.0) as traces,
        listening_traced(plane, traces) as host,
    ):
        post(host)
        post(host, traceparent=PARENT[:-2] + "00")
        post(host, traceparent=PARENT)
        collector.wait(1)
    assert [span.trace_id.hex() for span in collector.servers()] == [TRACE]


def test_a_request_without_a_trace_begins_one_that_the_access_log_names(iris, collector):
    plane, begun = plane_of(iris), []
    with traced(plane, collector.url) as traces:
        settings = ServeSettings(**SETTINGS)
        app = make_app(plane, settings)
        observe = (traces.observe, lambda exchange, *_: begun.append(exchange.trace_id))
        app.pipeline = Pipeline(plane, app.metrics, Steps(observe=observe))
        with listening(app, settings, fast=True) as host:
            post(host)
            post(host)
        spans = collector.wait(2)
    assert sorted(span.trace_id.hex() for span in spans) == sorted(begun)
    assert len(set(begun)) == 2
    assert not any(span.parent_span_id for span in spans)


@pytest.mark.slow
def test_a_collector_that_refuses_disturbs_no_request_and_is_logged_once(iris, collector, caplog):
    plane, counts = plane_of(iris), Counter()
    caplog.set_level("INFO", "lading.server")
    collector.status = 400  # Not one of those that the exporter sends again.
    with traced(plane, collector.url, counts) as traces, listening_traced(plane, traces) as host:
        for failures in range(1, 4):
            assert post(host) == 200
            wait_until(lambda failures=failures: counts["failed"] == failures, 10)
        collector.status = 200
        post(host)
        collector.wait(1)
    assert counts == {"failed": 3, "exported": 1}
    assert [record.getMessage() for record in caplog.records] == [
        "the collector of traces does not take spans; they are counted, and lost",
        "the collector of traces takes spans again",
    ]


@pytest.mark.slow
def test_without_any_collector_requests_are_answered_and_the_server_ends(iris):
    plane, counts = plane_of(iris), Counter()
    nowhere = f"http://127.0.0.1:{free_port()}"
    with traced(plane, nowhere, counts) as traces, listening_traced(plane, traces) as host:
        assert [post(host) for _ in range(20)] == [200] * 20
    assert not counts["exported"]


def test_the_environment_names_the_service(iris, collector, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    plane = plane_of(iris)
    with traced(plane, None) as traces, listening_traced(plane, traces) as host:
        post(host)
        collector.wait(1)
    resource = collector.resources[0]
    assert resource["service.name"] == "shop"
    assert resource["service.instance.id"] == "host-1"
    assert resource["deployment.environment.name"] == "test"


@pytest.mark.slow
def test_without_the_extra_the_error_is_a_sentence_that_names_it():
    code = "import sys\nsys.modules['opentelemetry'] = None\nimport lading.server.observe.traces"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    (sentence,) = [line for line in done.stderr.splitlines() if "ExtraMissing" in line]
    assert "`--traces`: expected the extra `otel`" in sentence
    assert "lading-ml[otel]" in done.stderr
