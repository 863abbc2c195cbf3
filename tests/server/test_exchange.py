"""One life of a request for every transport: its steps in order, one retry, one count."""

from __future__ import annotations

import gc
import gzip
import json
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest

from lading.errors import BodyInvalid, ModelNotReady, QueueFull, RunFailed, TooManyRows
from lading.server.exchange import Exchange, Pipeline, RequestIds, Steps, row_limit
from lading.server.inference.callers import Callers
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import ServedVersion, State
from lading.server.metrics import Metrics
from lading.server.observe.observer import Observer
from lading.server.process.compose import make_app, make_plane
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.grpc_client import OIP, grpc_serving, infer_bytes, one_row
from support.hosted_app import gated, hosted, served_from
from support.http_requests import SETTINGS, ask_in_one_stage, request
from support.waiting import wait_until
from support.wire import Wire, listening

ROWS = {"data": [[5.1, 3.5, 1.4, 0.2]]}
TO_CANDIDATE = (b"x-tier", b"gold", "candidate")
"""A rule that sends callers with `x-tier: gold` to the candidate."""


@pytest.fixture
def iris(tmp_path) -> ServedVersion:
    return served_from(linear_bundle(tmp_path / "iris"))


@pytest.fixture
def pair(tmp_path) -> tuple[ServedVersion, ServedVersion]:
    bundles = (linear_bundle(tmp_path / name, seed=seed) for seed, name in enumerate(("old", "new")))
    old, new = (served_from(bundle, number) for number, bundle in enumerate(bundles, 1))
    return old, new


@dataclass
class Reply:
    """The answer to a request for one prediction, over any transport."""

    ok: bool
    status: int | str
    headers: dict[str, str]
    text: str


def ask_http(plane: DataPlane, steps: Steps, model: str, *, fast: bool, **headers: str) -> Reply:
    settings = ServeSettings(**SETTINGS)
    app = make_app(plane, settings)
    app.pipeline = Pipeline(plane, app.metrics, steps)
    with listening(app, settings, fast=fast) as host, host.wire() as wire:
        wire.send(request(path=f"/models/{model}/predict", **headers))
        answer = wire.answer()
    return Reply(answer.status == 200, answer.status, answer.headers, answer.body.decode())


def ask_grpc(plane: DataPlane, steps: Steps, model: str, **headers: str) -> Reply:
    with grpc_serving(plane, steps=steps) as (channel, _):
        metadata = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        message = infer_bytes(**one_row(model))
        call = channel.unary_unary(f"/{OIP}/ModelInfer").future(message, metadata=metadata, timeout=10)
        code = call.code()
        trailing = dict(call.trailing_metadata())
    return Reply(code is grpc.StatusCode.OK, code.name, trailing, str(call.details()))


Ask = Callable[..., Reply]


@pytest.fixture(params=["fast", "asgi", "grpc"])
def ask(request) -> Ask:
    """A function that asks a server over one transport: on a fast route, under ASGI, or by gRPC."""

    def ask_over(plane: DataPlane, steps: Steps | None = None, model: str = "iris", **headers: str) -> Reply:
        if request.param == "grpc":
            return ask_grpc(plane, steps or Steps(), model, **headers)
        return ask_http(plane, steps or Steps(), model, fast=request.param == "fast", **headers)

    return ask_over


def plane_of(*versions: ServedVersion) -> DataPlane:
    plane = make_plane(ServeSettings())
    plane.publish(versions)
    return plane


def refuse(_exchange: Exchange) -> None:
    raise QueueFull("calls of `key-1`", expected="at most 10 a second", found="11")


class Log:
    """Steps that record their names, and how far the request is."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, name: str) -> Callable[..., None]:
        def record(exchange: Exchange, *_outcome: Any) -> None:
            job = exchange.job
            progress = "unresolved" if job is None else "resolved" if job.outcome is None else "run"
            self.lines.append(f"{name}: {progress}")

        return record

    def steps(self) -> Steps:
        names = ("authorise", "look_up", "observe", "answer")
        return Steps(**{name: (self.step(f"{name} 1"), self.step(f"{name} 2")) for name in names})


def test_steps_run_in_order_around_resolve_and_run(iris, ask):
    log = Log()
    assert ask(plane_of(iris), log.steps()).ok
    assert log.lines == [
        "authorise 1: unresolved",
        "authorise 2: unresolved",
        "look_up 1: resolved",
        "look_up 2: resolved",
        "observe 1: run",
        "observe 2: run",
        "answer 1: run",
        "answer 2: run",
    ]


def test_authorise_refuses_before_the_version_is_resolved(iris, ask):
    log = Log()
    steps = Steps(authorise=(refuse,), look_up=(log.step("look_up"),), observe=(log.step("observe"),))
    reply = ask(plane_of(iris), steps, model="nowhere")
    assert reply.status in (429, "RESOURCE_EXHAUSTED")  # Not that there is no such model.
    assert "at most 10 a second" in reply.text
    assert log.lines == ["observe: unresolved"]


def test_authorise_sees_the_headers_of_the_caller(iris, ask):
    headers: list[bytes] = []
    steps = Steps(authorise=(lambda exchange: headers.append(exchange.headers[b"authorization"]),))
    assert ask(plane_of(iris), steps, authorization="Bearer key-1").ok
    assert headers == [b"Bearer key-1"]


def test_look_up_may_change_the_inputs(iris, ask, monkeypatch):
    rows: list[Any] = []

    def fill_in(exchange: Exchange) -> None:
        assert exchange.job is not None
        exchange.job.inputs = {"X": np.full((1, 4), 7, np.float32)}

    def run(inputs: dict[str, Any], outputs: Any = None) -> Any:
        rows.extend(inputs["X"].tolist())
        return ServedVersion.run(iris, inputs, outputs)

    iris.run = run  # type: ignore[method-assign]  # only looks at what passes
    # A run that a busy machine delays would be repeated in the queue.
    monkeypatch.setattr(iris.model.inline_runs, "doubt", lambda _size: None)
    assert ask(plane_of(iris), Steps(look_up=(fill_in,))).ok
    assert rows == [[7, 7, 7, 7]]


def test_a_request_that_look_up_refuses_does_not_run(iris, ask):
    log = Log()
    steps = Steps(look_up=(refuse, log.step("look_up")), observe=(log.step("observe"),))
    assert ask(plane_of(iris), steps).status in (429, "RESOURCE_EXHAUSTED")
    assert log.lines == ["observe: resolved"]


def test_observers_see_status_seconds_and_error(iris, ask):
    seen: list[tuple[Any, ...]] = []

    def observe(_exchange: Exchange, status: int | str, took_s: float, error: Exception | None) -> None:
        assert 0 < took_s < 10
        seen.append((status, type(error)))

    ask(plane_of(iris), Steps(observe=(observe,)))
    ask(plane_of(iris), Steps(observe=(observe,), authorise=(refuse,)))
    assert seen[0] in ((200, type(None)), ("OK", type(None)))
    assert seen[1] in ((429, QueueFull), ("RESOURCE_EXHAUSTED", QueueFull))


@pytest.mark.parametrize("refused", [False, True])
def test_headers_of_answer_steps_reach_the_caller(iris, ask, refused):
    def add(exchange: Exchange) -> None:
        exchange.answer_headers = (*exchange.answer_headers, (b"x-rows", b"1"))

    steps = Steps(answer=(add,), authorise=(refuse,) if refused else ())
    reply = ask(plane_of(iris), steps)
    assert reply.ok is not refused
    assert reply.headers["x-rows"] == "1"
    assert reply.headers["x-request-id"]


@pytest.mark.parametrize(("request_id", "is_kept"), [("a" * 128, True), ("a" * 129, False)])
def test_the_callers_request_id_is_kept_up_to_a_length(iris, ask, request_id, is_kept):
    reply = ask(plane_of(iris), x_request_id=request_id)
    assert (reply.headers["x-request-id"] == request_id) is is_kept
    assert reply.headers["x-request-id"]


def test_request_ids_do_not_repeat_across_processes():
    ids, ids_of_another = RequestIds(), RequestIds()
    assert len({next(source) for source in (ids, ids_of_another) for _ in range(100)}) == 200


def unload_before_run(plane: DataPlane, old: ServedVersion, new: ServedVersion, after_runs: int = 0) -> None:
    """Have `old` replaced and unloaded just when a request has resolved it, after some runs."""
    runs = 0

    def run(*arguments: Any) -> Any:
        nonlocal runs
        runs += 1
        if runs > after_runs and old.state is State.READY:
            plane.publish([old, new])
            old.advance(State.DRAINING)
            old.in_memory = False  # What `unload` does first; it is UNLOADED only once the memory is freed.
        return ServedVersion.run(old, *arguments)

    old.run = run  # type: ignore[method-assign]  # the only way to come between resolve and run


def test_a_request_whose_version_is_unloaded_before_it_runs_is_answered_by_the_replacement(pair, ask):
    old, new = pair
    plane, log = plane_of(old), Log()
    unload_before_run(plane, old, new)
    reply = ask(plane, log.steps())
    assert (reply.ok, reply.headers["x-lading-model"]) == (True, "iris:2")
    # The decisions about the unloaded version are made again for its replacement.
    decisions = [
        "authorise 1: unresolved",
        "authorise 2: unresolved",
        "look_up 1: resolved",
        "look_up 2: resolved",
    ]
    outcome = ["observe 1: run", "observe 2: run", "answer 1: run", "answer 2: run"]
    assert log.lines == [*decisions, *decisions, *outcome]


def test_requests_of_one_stage_are_answered_by_the_replacement_compressed_or_not(pair):
    asked = hosted(pair[0], **SETTINGS)
    unload_before_run(asked.app.plane, *pair, after_runs=3)  # Each of the three connections has asked before.
    packed = request(gzip.compress(json.dumps(ROWS).encode()), content_encoding="gzip", X_Request_ID="mine")
    with listening(asked.app, ServeSettings(**SETTINGS), fast=True) as host:
        answers = ask_in_one_stage(host, packed, request(), packed)
    assert [answer.status for answer in answers] == [200] * 3
    assert {answer.headers["x-lading-model"] for answer in answers} == {"iris:2"}
    assert answers[0].headers["x-request-id"] == "mine"


def test_a_request_that_finds_the_queue_full_is_counted_once_for_its_release(pair):
    observer = Observer("here")
    settings = ServeSettings(max_queue=1, grpc_port=-1)
    plane = make_plane(settings, "iris", observer)
    plane.publish(pair, {"iris": Traffic("iris", 1, "canary", 1, 2, 0.0, (TO_CANDIDATE,))})
    runtime = gated(pair[0], 30)
    with listening(make_app(plane, settings), settings, fast=True) as host:
        wires = [Wire(host.address) for _ in range(3)]
        wires[0].send(request())
        assert runtime.entered.wait(10)
        wires[1].send(request())
        wait_until(lambda: plane.depth(pair[0]) == 1)
        wires[2].send(request())
        assert wires[2].answer().status == 429
        runtime.gate.set()
        assert [wire.answer().status for wire in wires[:2]] == [200, 200]
        for wire in wires:
            wire.close()
    observer.windows.rotate(time.time(), last=True)
    (window,) = [window for window in observer.windows.drain() if window.version == 1]
    assert (window.requests, window.errors) == (3, {"QueueFull": 1})


# Without a transport.


class HandlerRoute(NamedTuple):
    """A route of no protocol."""

    handler: Callable[[Exchange, DataPlane], Any]
    protocol: str = "none"


class BareExchange(Exchange):
    """A request of no transport, for the default model."""

    def __init__(self, handler: Callable[[Exchange, DataPlane], Any], **headers: str) -> None:
        self.route = HandlerRoute(handler)
        self.headers = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        self.came_from = "10.0.0.1"

    def address(self) -> str:
        return self.came_from

    def target(self) -> tuple[str | None, int | None, str | None]:
        return None, None, None


def predict(_exchange: Exchange, plane: DataPlane) -> Job:
    return Job(plane.resolve(), {"X": np.ones((1, 4), np.float32)}, None, lambda outputs: outputs)


def released(pair: tuple[ServedVersion, ServedVersion]) -> tuple[Pipeline, Observer]:
    """Return a pipeline over a canary release of `pair`, and its observer."""
    observer = Observer("here")
    plane = DataPlane("iris", observer=observer)
    plane.publish(pair, {"iris": Traffic("iris", 1, "canary", 1, 2, 0.0, (TO_CANDIDATE,))})
    return Pipeline(plane, Metrics(plane)), observer


def errors_by_version(observer: Observer) -> dict[int, dict[str, int]]:
    observer.windows.rotate(time.time(), last=True)
    return {window.version: window.errors for window in observer.windows.drain()}


def reading(pipeline: Pipeline, refused_by: set[int], address: str = "10.0.0.1") -> int | str:
    """Send a request to the candidate's side, whose body the versions `refused_by` refuse.

    Return the version that answered, or the error.
    """

    def read_body(exchange: Exchange, plane: DataPlane) -> Job:
        served = plane.resolve()
        if served.version in refused_by:
            raise BodyInvalid(f"body for {served.version}", expected="JSON", found="text")
        return predict(exchange, plane)

    exchange = BareExchange(read_body, x_tier="gold")
    exchange.came_from = address
    pipeline.identify(exchange, None)
    try:
        job = pipeline.handle(exchange)
    except BodyInvalid as error:
        pipeline.observe(exchange, 400, 10, 10, error)
        return error.message.split(":")[0]
    pipeline.plane.run(job)
    pipeline.observe(exchange, 200, 10, 10)
    return int(job.served.version)


def test_what_a_candidate_refuses_is_answered_by_live_and_counts_against_the_candidate(pair):
    pipeline, observer = released(pair)
    assert reading(pipeline, {2}) == 1
    assert errors_by_version(observer) == {2: {"BodyInvalid": 1}}, "live was asked nothing else: not counted"


def test_what_both_sides_of_a_release_refuse_counts_against_neither(pair):
    pipeline, observer = released(pair)
    assert reading(pipeline, {1, 2}) == "body for 1"
    assert errors_by_version(observer) == {}


def test_what_only_live_refuses_counts_for_neither(pair):
    pipeline, observer = released(pair)
    assert reading(pipeline, {1}) == 2
    assert errors_by_version(observer) == {2: {}}


def test_more_rows_than_the_server_takes_count_against_no_side(pair):
    pipeline, observer = released(pair)
    pipeline = Pipeline(pipeline.plane, pipeline.metrics, Steps(look_up=(row_limit(0),)))
    exchange = BareExchange(predict, x_tier="gold")
    pipeline.identify(exchange, None)
    with pytest.raises(TooManyRows) as refused:
        pipeline.handle(exchange)
    pipeline.observe(exchange, 413, 10, 10, refused.value)
    assert errors_by_version(observer) == {}


def test_a_caller_whose_refusals_have_cost_their_share_is_refused_by_the_candidate_and_others_are_not(
    pair,
):
    pipeline, observer = released(pair)
    slow = Callers().group("10.0.0.1", {})
    other = next(text for n in range(2, 99) if Callers().group(text := f"10.0.0.{n}", {}) != slow)
    now = time.perf_counter()
    pipeline._second_tries.spend(slow, now, 1.0)
    assert reading(pipeline, {2}) == "body for 2"
    assert errors_by_version(observer) == {}, "live was not asked"
    assert reading(pipeline, {2}, other) == 1
    assert errors_by_version(observer) == {2: {"BodyInvalid": 1}}


def test_a_request_refused_after_its_release_has_ended_counts_against_no_release(pair):
    pipeline, observer = released(pair)

    def find_it_draining(_exchange: Exchange, plane: DataPlane) -> Any:
        plane.resolve()
        raise ModelNotReady("model `iris`", expected="`ready`", found="`draining`")

    exchange = BareExchange(predict, x_tier="gold")
    pipeline.identify(exchange, None)
    assert pipeline.handle(exchange).served is pair[1]
    pipeline.plane.publish(pair)  # The release ends, and with it its split.
    exchange.route = HandlerRoute(find_it_draining)
    with pytest.raises(ModelNotReady) as refused:
        pipeline.handle_again(exchange)
    pipeline.observe(exchange, 503, 10, 10, refused.value)
    assert errors_by_version(observer) == {}


@pytest.mark.parametrize("status", [499, "CANCELLED"])
def test_a_request_whose_client_has_gone_counts_against_the_side_that_it_waited_for(pair, status):
    pipeline, observer = released(pair)
    exchange = BareExchange(predict)
    pipeline.identify(exchange, None)
    pipeline.handle(exchange)
    pipeline.observe(exchange, status, 10, 0)
    assert pipeline.metrics.counters("iris", 1, "none").statuses == {status: 1}
    assert errors_by_version(observer) == {1: {"ClientGone": 1}}


def test_a_client_that_goes_beside_a_candidate_in_shadow_excuses_no_failed_copy(pair):
    pipeline, observer = released(pair)
    pipeline.plane.publish(pair, {"iris": Traffic("iris", 1, "shadow", 1, 2, 0.0)})
    exchange = BareExchange(predict)
    pipeline.identify(exchange, None)
    pipeline.handle(exchange)
    pipeline.observe(exchange, 499, 10, 0)
    assert errors_by_version(observer) == {}


def test_a_refused_request_counts_for_the_model_that_it_was_for(iris):
    pipeline = Pipeline(plane_of(iris), Metrics(plane_of(iris)))
    exchange = BareExchange(predict)
    pipeline.identify(exchange, None)
    pipeline.observe(exchange, 400, 10, 10, BodyInvalid("body"))
    exchange.route = None
    pipeline.observe(exchange, 404, 10, 10)
    assert pipeline.metrics.counters("iris", 1, "none").errors == {"BodyInvalid": 1}
    assert pipeline.metrics.counters("", 0, "http").statuses == {404: 1}


def test_a_defect_is_logged_with_its_traceback_and_answered_with_the_request_id(iris, caplog):
    pipeline = Pipeline(plane_of(iris), Metrics(plane_of(iris)))
    exchange = BareExchange(lambda *_: 1 / 0)
    pipeline.identify(exchange, b"mine")
    with pytest.raises(ZeroDivisionError) as defect:
        pipeline.handle(exchange)
    error = pipeline.as_refusal(exchange, defect.value)
    assert isinstance(error, RunFailed)
    assert "x-request-id mine" in str(error)
    assert "ZeroDivisionError" in caplog.text


def test_nesting_too_deep_is_the_clients_fault_in_its_body_and_a_defect_in_the_answer(iris, caplog):
    pipeline = Pipeline(plane_of(iris), Metrics(plane_of(iris)))
    exchange = BareExchange(predict)
    pipeline.identify(exchange, None)
    assert isinstance(pipeline.as_refusal(exchange, RecursionError()), BodyInvalid)
    assert not caplog.text
    pipeline.handle(exchange)
    assert isinstance(pipeline.as_refusal(exchange, RecursionError()), RunFailed)
    assert "RecursionError" in caplog.text


@pytest.mark.parametrize("refused_by", [{2}, {1, 2}])
def test_what_was_tried_on_live_leaves_no_cycle_behind(pair, refused_by):
    pipeline, observer = released(pair)
    kept: list[weakref.ref[Exchange]] = []

    def ask() -> None:
        def read_body(exchange: Exchange, plane: DataPlane) -> Job:
            if plane.resolve().version in refused_by:
                raise BodyInvalid("body", expected="JSON", found="text")
            return predict(exchange, plane)

        exchange = BareExchange(read_body, x_tier="gold")
        kept.append(weakref.ref(exchange))
        pipeline.identify(exchange, None)
        try:
            pipeline.handle(exchange)
        except BodyInvalid as error:
            pipeline.observe(exchange, 400, 10, 10, error)
        exchange.job = None  # As transports do.

    gc.disable()
    try:
        ask()
        assert kept[0]() is None
    finally:
        gc.enable()
    observer.close()
