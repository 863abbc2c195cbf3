"""The page that Prometheus reads: the names of three servers, and the page of the reference about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as text_string_to_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from lading import errors
from lading.input_checks import Rule
from lading.jobs import Depth
from lading.runtime.python.session import PythonRuntime
from lading.server.inference.trust import TrustFacts
from lading.server.inference.version import Replayed, ServedVersion, State
from lading.server.metrics import Metrics, count_spans
from lading.server.metrics.input_checks import CheckCounters
from lading.server.metrics.jobs import JobCounts
from lading.server.metrics.page import prefers_openmetrics
from lading.server.process.compose import make_plane, metrics_page
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.hosted_app import expect_short, hosted, served_from
from support.metrics_page import samples, scraped
from support.model_code import DOUBLE, model_code
from support.releases import canary

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
# As Prometheus 3 sends it.
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
ROW = {"data": [[1, 2, 3, 4]]}


@pytest.fixture(scope="module")
def iris(tmp_path_factory) -> ServedVersion:
    return served_from(linear_bundle(tmp_path_factory.mktemp("page") / "iris"), version=3)


@pytest.fixture
def in_python(tmp_path) -> Iterator[PythonRuntime]:
    runtime = PythonRuntime(model_code(tmp_path, DOUBLE))
    yield runtime
    runtime.close()


def test_versions_show_their_state_and_workers_what_they_use(iris):
    values = scraped(hosted(iris))
    digest = iris.digest
    assert values[f"lading_model_state{{digest={digest},model=iris,state=ready,version=3}}"] == 1
    assert values[f"lading_model_state{{digest={digest},model=iris,state=failed,version=3}}"] == 0
    assert values["lading_workers{}"] == 1
    assert values["lading_worker_cpu_seconds_total{worker=0}"] > 0
    assert values["lading_worker_resident_bytes{worker=0}"] > 2**24
    assert values["lading_in_flight{model=iris,version=3}"] == 0
    assert values["lading_queue_depth{model=iris,version=3}"] == 0


@pytest.mark.slow
def test_states_have_the_same_names_as_everywhere(iris):
    values = scraped(hosted(iris))
    states = {
        name.split("state=")[1].split(",")[0] for name in values if name.startswith("lading_model_state")
    }
    assert states == {state.word for state in State}


def test_the_names_of_triton_are_an_option(iris):
    expect_short(iris)  # A run that this machine delays would be run, and counted, once more.
    client = hosted(iris, metrics_names="triton")
    for _ in range(2):
        client.post("/predict", {"data": [[1, 2, 3, 4]] * 3})
    values = scraped(client)
    assert not [name for name in values if name.startswith("lading_")]
    of = "{model=iris,version=3}"
    assert values[f"nv_inference_request_success{of}"] == 2
    assert values[f"nv_inference_count{of}"] == 6
    assert values[f"nv_inference_exec_count{of}"] == 2
    assert (
        values[f"nv_inference_request_duration_us{of}"]
        > values[f"nv_inference_compute_infer_duration_us{of}"]
        > values[f"nv_inference_compute_input_duration_us{of}"]
        == values[f"nv_inference_compute_output_duration_us{of}"]
        == 0
    )
    assert values[f"nv_inference_pending_request_count{of}"] == 0


def test_failures_have_the_reasons_of_triton(iris):
    plane = make_plane(ServeSettings())
    plane.publish([iris])
    metrics = Metrics(plane)
    counters = metrics.counters_of(iris, "oip")
    for error in (errors.QueueFull("x"), errors.RunFailed("x"), errors.ValueRefused("x")):
        counters.count_answer(500, 0.1, None, 0, 0)
        counters.count_error(error)
    for protocol, status in (("oip", 499), ("native", 499), ("oip-grpc", "CANCELLED")):
        metrics.counters_of(iris, protocol).count_answer(status, 0.1, None, 0, 0)
    values = samples(metrics_page(metrics, "triton").decode())
    assert values["nv_inference_request_failure{model=iris,reason=CANCELED,version=3}"] == 3
    reasons = {name.split("reason=")[1].split(",")[0] for name in values if "request_failure" in name}
    assert reasons == {"REJECTED", "BACKEND", "OTHER", "CANCELED"}


def test_the_names_of_tensorflow_serving_are_on_its_path(iris):
    client = hosted(iris)
    for _ in range(2):
        client.post("/v1/models/iris:predict", {"instances": [[1, 2, 3, 4]] * 3})
    text = client.get("/monitoring/prometheus/metrics").text
    assert ':tensorflow:serving:request_count{model_name="iris",status="OK"} 2.0' in text
    assert ':tensorflow:serving:request_example_count_total{model="iris"} 6.0' in text
    latency = re.findall(r":tensorflow:serving:request_latency_bucket\{(.*?)\} (\S+)", text)
    assert len(latency) == 34
    assert latency[0] == ('API="predict",entrypoint="REST",le="10",model_name="iris"', "0.0")
    assert latency[-1] == ('API="predict",entrypoint="REST",le="+Inf",model_name="iris"', "2.0")


def test_all_names_together_are_one_valid_page(iris):
    client = hosted(iris, metrics_names="all")
    client.post("/predict", ROW)
    names = {family.name for family in text_string_to_metric_families(client.get("/metrics").text)}
    assert {"lading_requests", "nv_inference_count", ":tensorflow:serving:request_count"} <= names


def test_the_reference_lists_every_metric_with_its_labels(iris, monkeypatch, in_python):
    on_page = {}
    for family in text_string_to_metric_families(busy_page(iris, monkeypatch, in_python)):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        suffix = "_total" if family.type == "counter" else ""
        on_page[family.name + suffix] = (" ".join(sorted(labels)), family.documentation)
    in_reference = {}
    for name, labels, _, meaning in re.findall(
        r"^\| `([\w:]+)` \| ([^|]*) \| ([^|]*) \| (.*) \|$", REFERENCE.read_text(), re.MULTILINE
    ):
        in_reference[name] = (" ".join(sorted(re.findall(r"`(\w+)`", labels))), meaning)
    assert in_reference == on_page


def busy_page(iris: ServedVersion, monkeypatch, runtime_in_python: PythonRuntime) -> str:
    """Return a page on which every family has a sample."""
    client = hosted(iris, metrics_names="all")
    client.post("/predict", ROW)
    client.post("/predict", {"data": []})
    monkeypatch.setattr(iris.model.inline_runs, "rows", 0)
    client.post("/predict", ROW)
    counters = client.app.metrics.counters_of(iris, "native")
    counters.count_answer(500, 0.1, None, 0, 0)
    counters.count_error(errors.RunFailed("x"))
    plane = client.app.pipeline.plane
    plane.releases, plane.readiness.catalog_answered_at = (canary(),), 1.0
    plane.trust = TrustFacts("trust.toml", "sha256:0", {("iris", 1): "not signed"})
    client.app.metrics.publish_driver(True, {"iris": "hold"})
    client.app.metrics.monitor.publish(True, {"iris": {"age": 0.3}}, {("iris", "drift"): 1})
    client.app.metrics.count_grpc_ended("stream_idle")
    client.app.metrics.count_log_records("iris", 1, 5)
    client.app.metrics.count_log_dropped("disk_full", 2)
    count_spans(client.app.metrics.store, "exported", 2)
    client.app.metrics.count_unseen("iris", 1, 9)
    checks = CheckCounters(client.app.metrics.store)
    checks.add("iris", 1, 1, [(Rule(tensor="X", column="a", kind="range"), 1)])
    jobs = JobCounts(client.app.metrics.store)
    jobs.publish([Depth(name="iris", waiting=2, running=1, oldest_s=3.0)])
    jobs.count_ended("iris", "done")
    jobs.count_webhook("delivered")
    monkeypatch.setattr(iris, "replayed", Replayed(16, 0.01, 1e-7))
    with monkeypatch.context() as patch:
        # As a model whose code runs in a process does; for the names on the page it need not run any more.
        patch.setattr(iris, "loaded", replace(iris.model, runtime=runtime_in_python))
        client.app.metrics.publish()
    return client.get("/metrics").text


def test_openmetrics_is_answered_to_who_asks_for_it_and_is_valid(iris, monkeypatch, in_python):
    busy_page(iris, monkeypatch, in_python)
    client = hosted(iris, metrics_names="all")
    client.post("/predict", ROW)
    answer = client.get("/metrics", headers={"accept": PROMETHEUS})
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.text.endswith("# EOF\n")
    names = {family.name for family in text_string_to_openmetrics(answer.text)}
    assert {"lading_requests", "process_cpu_seconds", ":tensorflow:serving:request_count"} <= names
    assert client.get("/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        (PROMETHEUS, True),
        ("application/openmetrics-text", True),
        ("text/plain, application/openmetrics-text;q=0.5", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=x", False),
        ("text/html,*/*;q=0.8", False),
        ("", False),
    ],
)
def test_the_format_is_the_one_that_the_client_prefers(accept, openmetrics):
    assert prefers_openmetrics(accept.encode()) is openmetrics
