"""Input checks in the server: counted by the chunk, warned of in a header, rejected, in every protocol."""

from __future__ import annotations

import re
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import grpc
import httpx
import msgspec
import numpy as np
import pytest

from lading.bundle.formats.v2 import Check
from lading.errors import CheckFailed, InvalidSetting, RunFailed
from lading.input_checks.modes import Modes
from lading.profile.measure import measure
from lading.runtime.python.session import PythonRuntime
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.inline_runs import InlineRuns
from lading.server.inference.merging import run_of
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import ServedVersion
from lading.server.metrics.shared_memory import PrivateCounters
from lading.server.observe.input_checks import InputChecks
from lading.server.observe.observer import Observer
from lading.server.observe.recorder import Recorder
from lading.server.process.compose import input_checks, make_app, make_plane, request_steps
from lading.settings import ServeSettings
from lading.signature import Signature
from support.bundles import linear_bundle, linear_rows
from support.grpc_client import ask, grpc_serving, one_row
from support.hosted_app import AppClient, served_from
from support.http_requests import request
from support.inference_jobs import random_job
from support.model_code import model_code
from support.open_inference import infer, infer_binary, tensor_json
from support.server_process import serving
from support.tensorflow_serving import message, predict_request
from support.waiting import wait_until
from support.wire import listening

GOOD = [5.0, 3.0, 4.0, 1.0]
BAD = [5.0, 3.0, 4000.0, 1.0]
CHECKS = (Check(input="X", column="sepal_length", at_most="petal_length"),)
SENTENCE = "check `range` of `petal_length`: expected 0 to 10.6"


def profiled(served: ServedVersion) -> ServedVersion:
    """Return a version with the profile of rows between 0 and 7, as its golden samples are."""
    rows = np.random.default_rng(1).uniform(0, 7, (1000, 4)).astype(np.float32)
    served.adopt(replace(served.model, profile=measure(served.signature, {"X": rows})))
    return served


class Checked:
    """An application over versions with checks, and what it has counted."""

    def __init__(self, *versions: ServedVersion, **settings: Any) -> None:
        self.settings = ServeSettings(**settings)
        self.plane = make_plane(self.settings)
        self.plane.publish(versions)
        self.checks = input_checks(self.settings, store := PrivateCounters(1))
        self.recorder = Recorder([self.checks.count])
        self.plane.show_run = self.recorder.show_run
        self.app = make_app(self.plane, self.settings, store, (), self.checks)
        self.client = AppClient(self.app)

    def predict(self, *rows: list[float], name: str = "iris") -> httpx.Response:
        return self.client.post(f"/models/{name}/predict", {"data": list(rows)})

    def counted(self) -> dict[str, float]:
        """Return the samples of the checks on the page of metrics."""
        self.recorder.flush()
        page = self.client.get("/metrics").text
        lines = re.findall(r"^lading_input_check(ed_rows|_failures)_total(\S+) (\S+)$", page, re.MULTILINE)
        return {f"{kind}{labels}": float(value) for kind, labels, value in lines}


@pytest.fixture(scope="module")
def iris(tmp_path_factory) -> Iterator[ServedVersion]:
    return profiled(served_from(linear_bundle(tmp_path_factory.mktemp("checks") / "iris")))


@pytest.fixture(autouse=True)
def _fresh(iris):
    iris.model.plans.clear()


def test_failures_are_counted_by_column_and_rule_and_change_no_answer(iris):
    checked = Checked(iris)
    assert "x-lading-input-warnings" not in checked.predict(BAD).headers
    assert checked.predict(GOOD, BAD, BAD).status_code == 200
    assert checked.counted() == {
        'ed_rows{model="iris",version="1"}': 4.0,
        '_failures{column="petal_length",model="iris",rule="range",version="1"}': 3.0,
    }


def test_a_pattern_of_a_bundle_that_cannot_be_matched_in_linear_time_is_left_out_with_a_warning(
    iris, monkeypatch, caplog
):
    stated = (*CHECKS, Check(input="X", pattern=r"(a)\1"))
    bundle = iris.model.bundle
    bundle = replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, checks=stated))
    monkeypatch.setattr(iris, "loaded", replace(iris.model, bundle=bundle))
    rules = Checked(iris).checks.rules(iris)
    assert "at_most" in {rule.kind for rule in rules}
    assert "pattern" not in {rule.kind for rule in rules}
    assert "a check is not in force: pattern `(a)\\1`" in caplog.text


def test_a_model_that_only_counts_has_no_step_of_its_own(iris):
    checks = Checked(iris).checks
    assert request_steps(ServeSettings(), checks=checks).look_up == ()
    assert not Checked(iris, input_checks="off").checks.counts


def test_a_model_that_is_off_is_not_counted(iris):
    checked = Checked(iris, input_checks="iris=off")
    assert checked.predict(BAD).status_code == 200
    assert checked.counted() == {}


def test_a_warning_is_a_header_with_the_columns_and_rules(iris):
    checked = Checked(iris, input_checks="iris=warn")
    answer = checked.predict(GOOD, [99.0, 3.0, -5.0, 1.0])
    assert answer.status_code == 200
    assert answer.headers["x-lading-input-warnings"] == "2; sepal_length range, petal_length range"
    assert "x-lading-input-warnings" not in checked.predict(GOOD).headers
    assert checked.counted()['ed_rows{model="iris",version="1"}'] == 3.0


def test_warnings_reach_what_looks_at_answers(iris):
    chunks: list[Any] = []
    checked = Checked(iris, input_checks="warn")
    recorder = Recorder(answer_consumers=[chunks.append])
    app = make_app(checked.plane, checked.settings, None, (recorder.observe,), checked.checks)
    AppClient(app).post("/models/iris/predict", {"data": [BAD]})
    recorder.flush()
    assert [chunk.warnings for chunk in chunks] == [[("petal_length range",)]]


@pytest.fixture(scope="module")
def rejecting(iris) -> Checked:
    iris.model.plans.clear()
    return Checked(iris, input_checks="reject", vertex_predict_route="/vertex")


POSTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "native": ("/models/iris/predict", {"data": [GOOD, BAD]}, "$.data[1].petal_length"),
    "native, labels": ("/predict/label", {"data": [GOOD, BAD]}, "$.data[1].petal_length"),
    "TensorFlow Serving": (
        "/v1/models/iris:predict",
        {"instances": [GOOD, BAD]},
        "$.instances[1].petal_length",
    ),
    "Vertex AI": ("/vertex", {"instances": [GOOD, BAD]}, "$.instances[1].petal_length"),
    "MLflow": ("/invocations", {"inputs": [GOOD, BAD]}, "X[1].petal_length"),
}


@pytest.mark.parametrize("way", POSTS)
def test_a_request_is_rejected_with_the_place_of_the_value(rejecting, way):
    path, body, place = POSTS[way]
    answer = rejecting.client.post(path, body)
    assert answer.status_code == 422, answer.text
    assert SENTENCE in answer.text
    assert f"found `4000` at `{place}`" in answer.text


def test_other_forms_of_bodies_are_rejected_alike(rejecting):
    rows = np.array([GOOD, BAD], np.float32)
    binary = tensor_json(rows, "float32", name="X", parameters={"binary_data_size": rows.nbytes})
    csv = "\n".join(",".join(map(str, row)) for row in rows.tolist())
    for answer in (
        infer(rejecting.client, "iris", tensor_json(rows, "float32", name="X", data=rows.tolist())),
        infer_binary(rejecting.client, "iris", {"inputs": [binary]}, rows.tobytes()),
        rejecting.client.post("/invocations", content=csv, headers={"content-type": "text/csv"}),
    ):
        assert (answer.status_code, SENTENCE in answer.text) == (422, True), answer.text


def test_grpc_calls_are_rejected_and_warned(iris):
    rejecting = Checked(iris, input_checks="reject")
    steps = request_steps(rejecting.settings, checks=rejecting.checks)
    with grpc_serving(rejecting.plane, steps=steps) as (channel, _):
        call = channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            lambda sent: sent.SerializeToString(),
            message("PredictResponse").FromString,
        )
        with pytest.raises(grpc.RpcError, match=re.escape(SENTENCE)) as refused:
            call(predict_request("iris", X=np.array([BAD], np.float32)))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert ask(channel, "ModelInfer", **one_row())
    iris.model.plans.clear()
    warning = Checked(iris, input_checks="warn")
    steps = request_steps(warning.settings, checks=warning.checks)
    with grpc_serving(warning.plane, steps=steps) as (channel, _):
        call = channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            lambda sent: sent.SerializeToString(),
            message("PredictResponse").FromString,
        )
        _, answered = call.with_call(predict_request("iris", X=np.array([BAD], np.float32)))
        metadata = dict(answered.trailing_metadata())
        assert metadata["x-lading-input-warnings"] == "1; petal_length range"


def test_what_was_rejected_is_counted_as_a_failure_and_as_an_error(iris):
    checked = Checked(iris, input_checks="reject")
    checked.predict(BAD)
    assert checked.predict(GOOD).status_code == 200
    counted = checked.counted()
    assert counted['ed_rows{model="iris",version="1"}'] == 2.0
    assert counted['_failures{column="petal_length",model="iris",rule="range",version="1"}'] == 1.0
    page = checked.client.get("/metrics").text
    assert 'lading_errors_total{model="iris",protocol="native",reason="CheckFailed",version="1"} 1.0' in page


def test_many_failures_name_the_first_row_and_say_how_many(iris):
    answer = Checked(iris, input_checks="reject").predict(GOOD, [1.0, 99.0, 1.0, 1.0], BAD, BAD)
    assert "`sepal_width`" in answer.json()["error"]
    assert "3 rows fail a check" in answer.text


@pytest.mark.parametrize("mode", ["warn", "reject"])
def test_a_request_that_fails_in_every_row_costs_no_object_a_row(iris, mode):
    checks, seen = Checked(iris, input_checks=mode).checks, []
    job = random_job(iris, 200_000)
    job.inputs["X"][:] = -5.0
    exchange = SimpleNamespace(job=job, warnings=(), route=SimpleNamespace(protocol="native"))
    tracemalloc.start()
    try:
        checks.look_up(exchange)
    except CheckFailed as refused:
        seen.append(refused.hint)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000
    assert (seen or [len(exchange.warnings)]) == (["200000 rows fail a check"] if mode == "reject" else [4])


def test_checks_of_the_bundle_and_of_the_server_are_in_force_beside_the_profile(tmp_path):
    served = profiled(served_from(linear_bundle(tmp_path / "iris", checks=CHECKS)))
    file = tmp_path / "checks.toml"
    file.write_text("[iris.petal_width]\nmaximum = 2\n[iris.none]\nmaximum = 1\n")
    checked = Checked(served, input_checks="reject", checks=str(file))
    assert "at most the value of `petal_length`, found `5`" in checked.predict([5.0, 3.0, 4.0, 1.0]).text
    assert "expected 0 to 2, found `2.5`" in checked.predict([3.0, 3.0, 4.0, 2.5]).text
    assert checked.predict([3.0, 3.0, 4.0, 1.0]).status_code == 200
    assert [str(rule) for rule in checked.checks.rules(served)][-1].startswith("sepal_length at_most")


def test_a_check_that_does_not_fit_a_version_is_logged_once_and_the_others_hold(iris, tmp_path, caplog):
    file = tmp_path / "checks.toml"
    file.write_text("[iris.petal_width]\nmaximum = 2\n[iris.none]\nmaximum = 1\n")
    checked = Checked(iris, input_checks="reject", checks=str(file))
    assert checked.predict([3.0, 3.0, 4.0, 2.5]).status_code == 422
    checked.predict(GOOD)
    assert [record.message.partition(":")[0] for record in caplog.records] == ["iris"]
    assert "found `none`" in caplog.text


def test_a_value_is_in_no_log(iris, caplog):
    caplog.set_level("DEBUG")
    checked = Checked(iris, input_checks="reject")
    assert "31337" in checked.predict([31337.0, 3.0, 4.0, 1.0]).text
    assert "31337" not in caplog.text


@pytest.mark.parametrize("settings", [{"input_checks": "strict"}, {"checks": "/nowhere/checks.toml"}])
def test_settings_that_cannot_be_meant_are_refused(settings):
    with pytest.raises(InvalidSetting):
        input_checks(ServeSettings(**settings), PrivateCounters(1))


def test_columns_of_any_name_become_printable_ascii(tmp_path):
    names = ("größe,\r\n", "b", "c", "d" * 300)
    bundle = linear_bundle(tmp_path / "iris")
    served = served_from(bundle)
    tensor = msgspec.structs.replace(served.signature.inputs[0], columns=names)
    signature = Signature(inputs=(tensor,), outputs=served.signature.outputs)
    rows = np.random.default_rng(1).uniform(0, 7, (1000, 4)).astype(np.float32)
    served.adopt(replace(served.model, signature=signature, profile=measure(signature, {"X": rows})))
    answer = Checked(served, input_checks="warn").predict([99.0, 99.0, 99.0, 99.0])
    header = answer.headers["x-lading-input-warnings"]
    assert header == f"4; gr??e??? range, b range, c range, {'d' * 40} range"


def test_requests_that_a_model_failed_on_are_checked_as_well(iris):
    seen: list[tuple[Any, ...]] = []
    recorder = Recorder([InputChecks(Modes("count"), None, lambda *counts: seen.append(counts)).count])
    job = random_job(iris, 3)
    job.outcome = RunFailed("it")
    recorder.show_run(run_of(job))
    recorder.flush()
    assert [counts[:3] for counts in seen] == [("iris", 1, 3)]


@pytest.fixture
def stricter(iris, tmp_path) -> ServedVersion:
    """Return a version 2 whose petals are at most 2 wide."""
    checks = (Check(input="X", column="petal_width", maximum=2.0),)
    return served_from(linear_bundle(tmp_path / "iris", seed=1, checks=checks), 2)


def released(live: ServedVersion, candidate: ServedVersion) -> tuple[Checked, Observer]:
    """Return an application over a canary release that ``x-tier: gold`` leads to, and its observer."""
    checked, observer = Checked(live, candidate, input_checks="reject"), Observer("here")
    plane = DataPlane("iris", observer=observer)
    to_candidate = (b"x-tier", b"gold", "candidate")
    plane.publish((live, candidate), {"iris": Traffic("iris", 1, "canary", 1, 2, 0.0, (to_candidate,))})
    checked.app = make_app(plane, checked.settings, None, (), checked.checks)
    checked.client = AppClient(checked.app)
    return checked, observer


def test_what_a_stricter_candidate_rejects_live_answers_and_it_counts_against_the_candidate(iris, stricter):
    checked, observer = released(iris, stricter)
    body = {"data": [[3.0, 3.0, 4.0, 2.5]]}
    answer = checked.client.post("/models/iris/predict", body, headers={"x-tier": "gold"})
    assert (answer.status_code, answer.headers["x-lading-model"]) == (200, "iris:1")
    assert errors_by_version(observer) == {2: {"CheckFailed": 1}}


def test_what_live_rejects_as_well_is_the_requests_own_fault(iris, stricter):
    checked, observer = released(iris, stricter)
    body = {"data": [[3.0, 3.0, 4000.0, 2.5]]}
    answer = checked.client.post("/models/iris/predict", body, headers={"x-tier": "gold"})
    assert (answer.status_code, "petal_length" in answer.text) == (422, True)
    assert checked.client.post("/models/iris/predict", body).status_code == 422
    assert errors_by_version(observer) == {}


def errors_by_version(observer: Observer) -> dict[int, dict[str, int]]:
    observer.windows.rotate(time.time(), last=True)
    return {window.version: window.errors for window in observer.windows.drain()}


@pytest.mark.slow
def test_warnings_and_rejections_reach_clients_of_the_fast_routes(iris):
    for mode, status in (("warn", 200), ("reject", 422)):
        iris.model.plans.clear()
        checked = Checked(iris, input_checks=mode, grpc_port=-1)
        body = b'{"data":[[5,3,4000,1]]}'
        with listening(checked.app, checked.settings, fast=True) as host, host.wire() as wire:
            wire.send(request(path="/models/iris/predict", body=body))
            answer = wire.answer()
            wire.send(request(path="/models/iris/predict", body=b'{"data":[[5,3,4,1]]}'))
            following = wire.answer()
        assert answer.status == status
        assert answer.headers.get("x-lading-input-warnings") == (
            "1; petal_length range" if status == 200 else None
        )
        assert (following.status, "x-lading-input-warnings" in following.headers) == (200, False)


IN_PYTHON = """
    import lading

    class M(lading.Model):
        def predict(self, inputs):
            return {"probabilities": inputs["X"][:, :3], "label": inputs["X"][:, 0].astype("int64")}
"""


def test_a_model_in_python_and_requests_that_are_queued_are_checked_alike(tmp_path):
    served = profiled(served_from(linear_bundle(tmp_path / "iris")))
    signature = served.signature
    settings = model_code(tmp_path, IN_PYTHON, inputs=signature.inputs, outputs=signature.outputs)
    runtime = PythonRuntime(settings)
    runs = InlineRuns(signature, learns=False)
    served.adopt(replace(served.model, runtime=runtime, inline_runs=runs))
    try:
        checked = Checked(served, input_checks="reject")
        assert checked.predict(GOOD).json() == {"prediction": [GOOD[:3]]}
        assert checked.predict(BAD).status_code == 422
        counted = checked.counted()
    finally:
        runtime.close()
    assert counted == {
        'ed_rows{model="iris",version="1"}': 2.0,
        '_failures{column="petal_length",model="iris",rule="range",version="1"}': 1.0,
    }


@pytest.mark.slow
def test_every_worker_counts_and_rejects_over_both_transports(tmp_path):
    checks = (Check(input="X", column="petal_length", maximum=10.0),)
    linear_bundle(tmp_path / "iris", checks=checks)
    flags = ("--workers", "2", "--grpc-port", "0", "--input-checks", "iris=reject")
    with serving(tmp_path / "iris", flags=flags) as server:
        statuses = []
        for _ in range(20):  # Each over a connection of its own, to one worker or the other.
            with httpx.Client(base_url=server.url) as client:
                statuses.append(client.post("/predict", json={"data": [GOOD]}).status_code)
                statuses.append(client.post("/predict", json={"data": [BAD]}).status_code)
        assert statuses == [200, 422] * 20
        with grpc.insecure_channel(server.grpc_target()) as channel:
            call = channel.unary_unary(
                "/tensorflow.serving.PredictionService/Predict",
                lambda sent: sent.SerializeToString(),
                message("PredictResponse").FromString,
            )
            with pytest.raises(grpc.RpcError, match="petal_length"):
                call(predict_request("iris", X=np.array([BAD], np.float32)))

        def failures() -> bool:
            page = httpx.get(f"{server.url}/metrics").text
            sample = 'failures_total{column="petal_length",model="iris",rule="range",version="0"} 21.0'
            return sample in page and 'checked_rows_total{model="iris",version="0"} 41.0' in page

        wait_until(failures, 10)


@pytest.mark.slow
def test_a_large_body_that_is_read_elsewhere_is_rejected_too(iris):
    rows = linear_rows(rows=16)
    rows[-1, 2] = 4000
    checked = Checked(iris, input_checks="reject")
    checked.app._large_bodies.quick_bytes = 100
    answer = checked.client.post("/models/iris/predict", {"data": rows.tolist()})
    assert answer.status_code == 422, answer.text[:300]
    assert f"$.data[{len(rows) - 1}].petal_length" in answer.text
