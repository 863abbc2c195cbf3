"""The gRPC foundation over real sockets: statuses, counts, limits, health, reflection, drain."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from lading import errors
from lading.errors import InvalidSetting, RunFailed
from lading.server.exchange import Pipeline
from lading.server.grpc import STATUS, Method, Service, descriptors, status_of
from lading.server.grpc.executor import CallThreads
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import ServedVersion, State
from lading.server.metrics import Metrics
from lading.server.observe.observer import Observer
from lading.server.process.grpc_listener import GrpcListener
from lading.server.process.sockets import reserve_grpc_port
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.grpc_client import OIP, ask, grpc_serving, one_row, plane_of
from support.hosted_app import gated, served_from
from support.server_process import serving
from support.waiting import wait_until

ROOT = Path(__file__).parents[3]


@pytest.fixture
def iris(tmp_path) -> ServedVersion:
    return served_from(linear_bundle(tmp_path / "iris"), 3)


def test_every_error_has_a_status():
    assert {kind.__name__ for kind in errors.leaves() if status_of(kind("x")) is grpc.StatusCode.OK} == set()
    assert all(isinstance(status, grpc.StatusCode) for status in STATUS.values())


def test_an_answer_names_the_version_and_the_request(iris):
    with grpc_serving(plane_of(iris)) as (channel, metrics):
        _, call = ask(channel, "ModelInfer", **one_row())
        told = dict(call.trailing_metadata())
        assert told["x-lading-model"] == "iris:3"
        assert told["x-lading-digest"] == iris.digest
        assert told["x-request-id"]
        ask(channel, "ModelInfer", **one_row(rows=4))
        counted = metrics.counters("iris", 3, "oip-grpc")
        assert counted.rows == 5
        assert counted.statuses == {"OK": 2}


def test_the_callers_request_id_comes_back(iris):
    with grpc_serving(plane_of(iris)) as (channel, _):
        call = channel.unary_unary(f"/{OIP}/ServerLive")
        _, done = call.with_call(b"", metadata=(("x-request-id", "mine"),), timeout=5)
        assert dict(done.trailing_metadata())["x-request-id"] == "mine"


def test_a_release_splits_calls_by_their_metadata_and_sees_their_answers(iris, tmp_path):
    candidate = served_from(linear_bundle(tmp_path / "next"), 4)
    rule = (b"x-tier", b"gold", "candidate")
    traffic = Traffic("iris", 1, "canary", 3, 4, 0.0, (rule,))
    observer = Observer("here")
    plane = DataPlane("iris", observer=observer)
    plane.publish([iris, candidate], {"iris": traffic})
    with grpc_serving(plane) as (channel, _):
        told = []
        for tier in ("gold", "tin", "gold"):
            wire = descriptors.message("oip", "inference.ModelInferRequest")(**one_row())
            call = channel.unary_unary(f"/{OIP}/ModelInfer")
            metadata = (("x-tier", tier), ("x-request-id", f"of {tier}"))
            _, done = call.with_call(wire.SerializeToString(), metadata=metadata, timeout=5)
            told.append(dict(done.trailing_metadata())["x-lading-model"])
        assert told == ["iris:4", "iris:3", "iris:4"]
        with pytest.raises(grpc.RpcError):
            ask(channel, "ModelInfer", model_name="iris")
    observer.windows.rotate(time.time(), last=True)
    seen = {one.version: (one.requests, one.errors) for one in observer.windows.drain()}
    assert seen == {3: (2, {"InputMissing": 1}), 4: (2, {})}
    assert observer.match_feedback("iris", b"of tin", ("0",))


def test_what_is_no_message_is_refused_in_a_sentence(iris):
    with grpc_serving(plane_of(iris)) as (channel, metrics), pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(f"/{OIP}/ModelInfer")(b"\xff" * 9, timeout=5)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "expected this method's protobuf message" in refused.value.details()
    assert metrics.counters("", 0, "oip-grpc").errors == {"BodyInvalid": 1}


def test_threads_answer_everything_and_no_more_at_once_than_they_are():
    threads, most, lock = CallThreads(3), [0, 0], threading.Lock()
    done = threading.Semaphore(0)

    def work(fails: bool) -> None:
        with lock:
            most[0] += 1
            most[1] = max(most)
        time.sleep(0.01)
        with lock:
            most[0] -= 1
        if fails:
            raise ValueError("on purpose")

    for at in range(30):
        threads.submit(work, at % 7 == 0).add_done_callback(lambda _call: done.release())
    assert all(done.acquire(timeout=5) for _ in range(30))
    assert most[1] == 3
    finished = threads.submit(work, False)
    time.sleep(0.1)
    finished.add_done_callback(lambda _call: done.release())
    assert done.acquire(timeout=1)
    threads.stop()


def test_a_refusal_is_a_sentence_with_its_hint_and_is_counted():
    with grpc_serving(plane_of()) as (channel, metrics), pytest.raises(grpc.RpcError) as refused:
        ask(channel, "ModelInfer", model_name="nope")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert "`nope`" in refused.value.details()
    assert metrics.counters("", 0, "oip-grpc").errors == {"ModelNotFound": 1}


def test_a_defect_is_a_sentence_and_no_traceback(caplog):
    def broken(_message: Any, _call: Any) -> Any:
        raise ZeroDivisionError("secret")

    service = Service(OIP, "oip-grpc", "oip", (Method("ServerLive", broken),))
    with grpc_serving(plane_of(), service) as (channel, _), pytest.raises(grpc.RpcError) as failed:
        ask(channel, "ServerLive")
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    assert "x-request-id" in failed.value.details()
    assert "secret" not in failed.value.details()
    assert "ZeroDivisionError" in caplog.text


def test_a_message_over_the_limit_is_refused_and_others_go_on(iris):
    with grpc_serving(plane_of(iris), settings=ServeSettings(max_body_bytes=1000)) as (channel, _):
        with pytest.raises(grpc.RpcError) as refused:
            ask(channel, "ModelInfer", **one_row(rows=1000))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert ask(channel, "ModelInfer", **one_row(rows=10))


def test_a_message_larger_than_grpcios_own_limit_of_4_mb_is_taken(iris):
    with grpc_serving(plane_of(iris)) as (channel, _):
        answer, _ = ask(channel, "ModelInfer", outputs=[{"name": "label"}], **one_row(rows=400_000))
        assert answer.outputs[0].shape == [400_000]


def test_a_client_with_a_short_deadline_gets_it_and_the_version_is_let_go(iris):
    runtime = gated(iris, 5)
    plane = plane_of(iris)
    with grpc_serving(plane) as (channel, _):
        with pytest.raises(grpc.RpcError) as late:
            ask(channel, "ModelInfer", timeout=0.2, **one_row())
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        runtime.gate.set()
        iris.advance(State.DRAINING)
        assert iris.unload(5)


def test_the_servers_own_deadline_is_a_sentence(iris):
    runtime = gated(iris, 5)
    with grpc_serving(plane_of(iris, deadline_s=0.1)) as (channel, _):
        with pytest.raises(grpc.RpcError) as late:
            ask(channel, "ModelInfer", **one_row())
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "within 0.1 s" in late.value.details()
        runtime.gate.set()


def test_a_full_queue_is_resource_exhausted(iris):
    runtime = gated(iris, 5)
    with grpc_serving(plane_of(iris, max_queue=1)) as (channel, _):
        codes: list[Any] = []

        def one() -> None:
            try:
                ask(channel, "ModelInfer", **one_row())
                codes.append(grpc.StatusCode.OK)
            except grpc.RpcError as error:
                codes.append(error.code())

        threads = [threading.Thread(target=one) for _ in range(6)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(codes) >= 3)
        runtime.gate.set()
        for thread in threads:
            thread.join()
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}


def test_a_client_that_goes_leaves_the_queue(iris):
    ran: list[Job] = []
    runtime = gated(iris, 5)
    plane = plane_of(iris)
    run = plane.run

    def note(job: Job, patience: Any = None) -> Any:
        ran.append(job)
        return run(job, patience)

    plane.run = note  # type: ignore[method-assign]  # Only looks at what passes.
    with grpc_serving(plane) as (channel, metrics):
        call = channel.unary_unary(f"/{OIP}/ModelInfer")
        text = descriptors.message("oip", "inference.ModelInferRequest")(**one_row()).SerializeToString()
        calls = []
        for at in range(2):
            calls.append(call.future(text))
            wait_until(lambda at=at: len(ran) > at)
            time.sleep(0.05)  # The first is running when the second comes.
        first, second = calls
        second.cancel()
        wait_until(lambda: any(job.cancelled for job in ran))
        runtime.gate.set()
        assert first.result(5) or not first.exception()
        counted = metrics.counters("iris", 3, "oip-grpc")
        wait_until(lambda: sum(counted.statuses.values()) >= 2)
        assert counted.statuses == {"OK": 1, "CANCELLED": 1}
        assert counted.errors == {}
    iris.advance(State.DRAINING)
    assert iris.unload(5)


def test_health_follows_the_models_and_tells_watchers(iris):
    other = ServedVersion("other", 1, "sha256:0")
    plane = plane_of(iris, other)
    kinds = health_pb2.HealthCheckResponse
    with grpc_serving(plane) as (channel, _):
        stub = health_pb2_grpc.HealthStub(channel)

        def status(service: str) -> int:
            return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status)

        assert status("") == status(OIP) == kinds.NOT_SERVING
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=OIP), timeout=10)
        assert next(watch).status == kinds.NOT_SERVING
        plane.publish([iris])
        assert status("") == status(OIP) == kinds.SERVING
        assert next(watch).status == kinds.SERVING
        iris.advance(State.DRAINING)
        assert status("") == kinds.NOT_SERVING
        assert next(watch).status == kinds.NOT_SERVING
        with pytest.raises(grpc.RpcError) as unknown:
            status("no.Service")
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        watch.cancel()


def test_reflection_tells_every_service_and_message(iris):
    with grpc_serving(plane_of(iris)) as (channel, _):
        database = ProtoReflectionDescriptorDatabase(channel)
        names = database.get_services()
        assert {OIP, "grpc.health.v1.Health"} <= set(names)
        pool = descriptor_pool.DescriptorPool(database)
        for name in names:
            assert pool.FindServiceByName(name).methods
        request = pool.FindMessageTypeByName("inference.ModelInferRequest")
        assert request.fields_by_name["raw_input_contents"].number == 7


def test_reflection_has_its_newer_name_as_well(iris):
    with grpc_serving(plane_of(iris)) as (channel, _):
        call = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = call(iter([asked.SerializeToString()]), timeout=5)
        told = reflection_pb2.ServerReflectionResponse.FromString(answer).list_services_response
        assert OIP in {service.name for service in told.service}


def test_a_method_that_is_not_there_is_unimplemented(iris):
    with grpc_serving(plane_of(iris)) as (channel, _), pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(f"/{OIP}/ModelStreamInfer")(b"", timeout=5)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_descriptor_sets_are_what_the_protos_say():
    command = [sys.executable, str(ROOT / "scripts" / "protos.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def listener_for(plane: DataPlane, settings: ServeSettings) -> GrpcListener:
    return GrpcListener(Pipeline(plane, Metrics(plane)), settings, reserve_grpc_port(settings))


def test_a_taken_port_is_refused_before_anything_starts(iris):
    plane = plane_of(iris)
    one = listener_for(plane, ServeSettings(grpc_port=0))
    with pytest.raises(InvalidSetting, match=f"127.0.0.1:{one.port}"):
        listener_for(plane, ServeSettings(grpc_port=one.port))
    port = one.port
    one.open()
    one.close(1)
    again = listener_for(plane, ServeSettings(grpc_port=port))
    again.close(1)


def test_no_grpc_is_a_setting(iris):
    plane = plane_of(iris)
    none = listener_for(plane, ServeSettings(grpc_port=-1))
    none.open()
    assert none.port == -1
    none.close(1)


def test_a_failed_run_is_internal():
    assert status_of(RunFailed("x")) is grpc.StatusCode.INTERNAL


@pytest.mark.slow
def test_calls_are_answered_through_a_drain(tmp_path):
    linear_bundle(tmp_path / "iris")
    with serving(tmp_path / "iris", flags=("--drain-delay-s", "3")) as server:
        with grpc.insecure_channel(server.grpc_target()) as channel:
            assert ask(channel, "ModelInfer", **one_row())
            stopped: list[int] = []
            stopper = threading.Thread(target=lambda: stopped.append(server.stop()))
            stopper.start()
            stub = health_pb2_grpc.HealthStub(channel)
            draining = health_pb2.HealthCheckResponse.NOT_SERVING
            server.wait_until(
                lambda: stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status == draining
            )
            failed = []
            for _ in range(100):
                try:
                    ask(channel, "ModelInfer", **one_row())
                except grpc.RpcError as error:
                    failed.append(error.details())
            assert stopper.is_alive(), "all of them while it drains"
            stopper.join()
        assert stopped == [0]
    assert "Traceback" not in server.log
    assert failed == []
