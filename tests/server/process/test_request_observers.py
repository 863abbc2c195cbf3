"""What a whole server writes and sends about its requests: every line JSON, one line and one span each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from lading.errors import ExtraMissing, InvalidSetting
from lading.server.process.request_observers import check_traces, endpoint_of
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.environments import environments  # noqa: F401 - a fixture
from support.grpc_client import ask, one_row
from support.otlp_receiver import attributes, collecting
from support.server_process import ServerProcess, serving
from support.waiting import wait_until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01"}

MODEL = """
import lading

class Doubled(lading.Model):
    def predict(self, inputs):
        print("asked", flush=True)
        return {"value": inputs["X"].sum(axis=1) * 2}
"""


def access_lines(server: ServerProcess) -> list[dict[str, Any]]:
    """Return the lines of the access log so far, without those of probes."""
    lines = [json.loads(line) for line in server.lines]
    return [line for line in lines if line["logger"] == "lading.access" and line["protocol"] != "http"]


@pytest.mark.slow
def test_every_line_of_a_server_with_workers_is_json_and_every_request_one_line(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    flags = ("--workers", "2", "--log-format", "json", "--access-log", "on", "--grpc-port", "0")
    with serving(bundle.path, flags=flags) as server:
        target = server.grpc_target()
        httpx.post(f"{server.url}/predict", json={"data": [[1, 2, 3, 4]]}, headers=PARENT).raise_for_status()
        assert httpx.post(f"{server.url}/predict", json={"data": []}).status_code == 400
        with grpc.insecure_channel(target) as channel:
            ask(channel, "ModelInfer", **one_row("iris"))
        assert server.stop() == 0
        wait_until(lambda: "bye" in server.lines[-1], 10, lambda: server.log)
    lines = [json.loads(line) for line in server.lines]
    assert all({"time", "level", "logger", "worker", "message"} <= line.keys() for line in lines)
    assert {line["worker"] for line in lines} == {0, 1, 2}, "the supervisor is 0"
    predictions = {
        (line["protocol"], line["status"]): line for line in access_lines(server) if line["path"] != "/health"
    }
    assert predictions.keys() == {("native", 200), ("native", 400), ("oip-grpc", "OK")}
    assert predictions["native", 200]["trace_id"] == TRACE
    assert predictions["native", 400]["error"] == "EmptyInput"
    ready = next(line for line in lines if "golden rows agree" in line["message"])
    assert ready["model"] == "iris"


@pytest.mark.slow
def test_without_the_setting_a_server_writes_no_line_for_a_request(tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    with serving(bundle.path, flags=("--grpc-port", "-1")) as server:
        httpx.post(f"{server.url}/predict", json={"data": [[1, 2, 3, 4]]}, headers=PARENT).raise_for_status()
        assert server.stop() == 0
    assert "/predict" not in server.log
    assert TRACE not in server.log


@pytest.mark.slow
@pytest.mark.xdist_group("python-models")
def test_spans_of_a_model_in_python_name_it_and_what_it_prints_is_json(tmp_path, environments):  # noqa: F811
    import lading

    module = tmp_path / "doubled.py"
    module.write_text(MODEL)
    bundle = pack_in(tmp_path, lading)
    flags = ("--allow", "code", "--grpc-port", "-1", "--log-format", "json")
    with collecting() as collector, serving(bundle, flags=(*flags, "--traces", collector.url)) as server:
        url = f"{server.url}/models/doubled/predict"
        httpx.post(url, json={"data": [[1.0, 2.0]]}, headers=PARENT).raise_for_status()
        wait_until(lambda: collector.named("POST /models/{name}/predict"), 20, lambda: server.log)
        (span,) = collector.named("POST /models/{name}/predict")
        metrics = httpx.get(f"{server.url}/metrics").text
        assert server.stop() == 0
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    assert attributes(span)["lading.model"] == "doubled"
    assert {child.name for child in collector.spans if child.parent_span_id == span.span_id} == {
        "queue",
        "run",
    }
    assert 'lading_trace_spans_total{outcome="exported"}' in metrics
    printed = [json.loads(line) for line in server.lines if "asked" in line]
    assert {(line["logger"], line["model"]) for line in printed} == {("lading.model", "doubled")}


def pack_in(folder: Path, lading: Any) -> Path:
    """Pack the model of `MODEL` from its module in `folder`."""
    import importlib

    import numpy as np

    sys.path.insert(0, str(folder))
    try:
        model = importlib.import_module("doubled").Doubled
        samples = np.linspace(0, 1, 20, dtype=np.float32).reshape(-1, 2)
        bundle = lading.pack(
            model, name="doubled", owner="ml@example.com", samples=samples, to=folder / "d.bundle"
        )
    finally:
        sys.path.remove(str(folder))
    path: Path = bundle.path
    return path


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("otlp", None),
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("https://collector.example.com/otlp/", "https://collector.example.com/otlp/v1/traces"),
        ("http://127.0.0.1:4318/v1/traces", "http://127.0.0.1:4318/v1/traces"),
    ],
)
def test_the_route_of_the_protocol_is_added_to_an_address(text, url):
    assert endpoint_of(text) == url


@pytest.mark.parametrize("text", ["127.0.0.1:4318", "grpc://127.0.0.1:4317", "on"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(InvalidSetting, match="LADING_TRACES"):
        endpoint_of(text)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.slow
def test_a_server_that_cannot_send_spans_does_not_start(tmp_path, workers):
    bundle = linear_bundle(tmp_path / "iris")
    command = [sys.executable, "-m", "lading", "serve", str(bundle.path), "--port", "0", "--grpc-port", "0"]
    flags = ["--workers", workers, "--traces", "nowhere"]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "`LADING_TRACES`: expected the URL of an OTLP/HTTP collector" in done.stderr


def test_a_missing_extra_is_said_before_workers_are_started(monkeypatch):
    settings = ServeSettings(traces="otlp", workers=2)
    check_traces(settings)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    with pytest.raises(ExtraMissing, match="otel"):
        check_traces(settings)
