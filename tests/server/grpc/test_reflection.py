"""Reflection lists services and their messages, and takes threads only while it answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from lading.settings import ServeSettings
from support.grpc_client import OIP, ask, grpc_serving, one_row, plane_of

LIST_SERVICES = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()


def test_reflection_lists_every_service_and_message(iris):
    with grpc_serving(plane_of(iris)) as (channel, _):
        database = ProtoReflectionDescriptorDatabase(channel)
        names = database.get_services()
        assert {OIP, "grpc.health.v1.Health"} <= set(names)
        pool = descriptor_pool.DescriptorPool(database)
        for name in names:
            assert pool.FindServiceByName(name).methods
        request = pool.FindMessageTypeByName("inference.ModelInferRequest")
        assert request.fields_by_name["raw_input_contents"].number == 7


def test_reflection_is_answered_under_its_newer_name(iris):
    with grpc_serving(plane_of(iris)) as (channel, _):
        call = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        (answer,) = call(iter([LIST_SERVICES]), timeout=5)
        services = reflection_pb2.ServerReflectionResponse.FromString(answer).list_services_response
        assert OIP in {service.name for service in services.service}


def test_streams_of_reflection_that_stay_open_take_no_threads(iris):
    with grpc_serving(plane_of(iris), settings=ServeSettings(grpc_threads=2)) as (channel, _):
        reflect = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        done = threading.Event()

        def keep_open() -> Iterator[bytes]:
            yield LIST_SERVICES
            done.wait(20)

        streams = [reflect(keep_open()) for _ in range(12)]
        for stream in streams:
            assert next(stream)
        answer, _ = ask(channel, "ModelInfer", **one_row())
        assert answer.model_name == "iris"
        done.set()
        for stream in streams:
            assert list(stream) == []


def test_bytes_that_are_no_question_are_refused_in_a_sentence(iris):
    with grpc_serving(plane_of(iris)) as (channel, _):
        reflect = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError) as refused:
            next(reflect(iter([b"\xff" * 9]), timeout=5))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "expected this method's protobuf message" in refused.value.details()
