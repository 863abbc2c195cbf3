"""Every route and every RPC, with every role and every kind of credential: allowed, or refused as stated.

The tables are made of the router and of the services, so that whatever is added is in them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from lading.access import ADMIN, OPEN, PREDICT, READ, RELEASE, ROLES, RULES
from lading.access.keys import new_key
from lading.server.exchange import Pipeline
from lading.server.grpc import descriptors
from lading.server.grpc.server import GrpcServer
from lading.server.http.app import App
from lading.server.http.asgi import AsgiHost
from lading.server.http.messages import UNRULED, Request, Route
from lading.server.inference.callers import Callers
from lading.server.metrics import Metrics
from lading.server.process.access import RequestAccess
from lading.server.process.compose import make_app, make_plane
from lading.server.process.grpc_listener import services
from lading.settings import ServeSettings
from support.access_files import Keys, keys_of_every_kind
from support.bundles import linear_bundle
from support.hosted_app import served_from

SETTINGS = ServeSettings(vertex_health_route="/vertex/health", vertex_predict_route="/vertex/predict")
KEYS = keys_of_every_kind()

# What each rule lets each role do, written by hand: on the model, and whether one model is enough.
ALLOWED = {
    "facts of a model": (READ | PREDICT | RELEASE | ADMIN, "model"),
    "facts of the server": (READ | PREDICT | RELEASE | ADMIN, "any"),
    "read all": (READ | RELEASE | ADMIN, "all"),
    "predict": (PREDICT | ADMIN, "model"),
    "job": (PREDICT | ADMIN, "any"),
    "load": (RELEASE | ADMIN, "model"),
    "load all": (RELEASE | ADMIN, "all"),
}

OPEN_ROUTES = {
    "GET /health", "GET /models/{name}/health", "GET /models/{name}/versions/{version}/health",
    "GET /models/{name}/tags/{tag}/health", "GET /ping", "GET /v2/health/live", "GET /v2/health/ready",
    "GET /v2/models/{name}/ready", "GET /v2/models/{name}/versions/{version}/ready", "GET /vertex/health",
    "* /v1/",
}  # fmt: skip
OPEN_METHODS = {"ServerLive", "ServerReady", "ModelReady"}


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    plane = make_plane(SETTINGS, "iris")
    plane.publish([served_from(linear_bundle(tmp_path_factory.mktemp("access") / "iris"))])
    return plane


@pytest.fixture(scope="module")
def app(plane) -> App:
    return make_app(plane, SETTINGS, gate=KEYS.gate())


def routes(app: App) -> Iterator[Route]:
    yield from app.router.routes
    yield from app.router.beyond
    yield AsgiHost(app).documentation_route


def status(app: App, route: Route, headers: dict[str, str]) -> Any:
    path = route.pattern.format(name="iris", version="1", tag="live", label="stable", id="x", act="load")
    request = Request(
        route.method if route.method != "*" else "GET",
        path if route.method != "*" else "/v1/nothing",
        b"{}" if route.method == "POST" else b"",
        {name.encode(): value.encode() for name, value in headers.items()},
    )
    if route.protocol == "documentation":
        refusal = app.admit(request, route)
        return refusal if refusal is not None else 200
    response = app.dispatch(request, lambda jobs: [app.plane.release(job) for job in jobs])
    return 202 if response is None else response


def code(answer: Any) -> int:
    return answer if isinstance(answer, int) else answer.status


def is_allowed(rule: str, role: str, models: str) -> bool:
    roles, reach = ALLOWED[rule]
    if not ROLES[role] & roles:
        return False
    return models == "all" or reach == "any" or (reach == "model" and models == "iris")


def test_every_route_states_a_rule(app):
    assert [route.pattern for route in routes(app) if route.rule is UNRULED] == []


def test_every_rule_is_in_the_table():
    assert {rule.name for rule in RULES} == {*ALLOWED, "open"}


def test_only_probes_are_open(app):
    opened = {f"{route.method} {route.pattern}" for route in routes(app) if route.rule is OPEN}
    assert opened == OPEN_ROUTES


def test_every_route_answers_who_may_and_nobody_else(app):
    wrong = []
    for route in routes(app):
        place = f"{route.method} {route.pattern}"
        if route.rule is OPEN:
            wrong += [place] if code(status(app, route, {})) in (401, 403) else []
            continue
        for headers in ({}, {"authorization": f"Bearer {new_key()}"}, {"authorization": "Basic eDp5"}):
            answer = status(app, route, headers)
            if code(answer) != 401:
                wrong.append(f"{place} {headers}: {code(answer)}")
        for role in ROLES:
            if code(status(app, route, KEYS.header(f"{role} expired"))) != 401:
                wrong.append(f"{place} {role} expired")
            for models in ("all", "iris", "other"):
                answer = code(status(app, route, KEYS.header(f"{role} {models}")))
                expected = is_allowed(route.rule.name, role, models)
                if (answer not in (401, 403)) is not expected or (not expected and answer != 403):
                    wrong.append(f"{place} {role} {models}: {answer}")
    assert wrong == []


SHAPES = {
    "native": {"error", "code", "hint"},
    "feedback": {"error", "code", "hint"},
    "jobs": {"error", "code", "hint"},
    "metrics": {"error", "code", "hint"},
    "documentation": {"error", "code", "hint"},
    "oip": {"error"},
    "tfs": {"error"},
    "vertex": {"error"},
    "invocations": {"error_code", "message"},
    "mlflow": {"error_code", "message"},
}


def test_a_refusal_has_the_form_of_its_protocol_and_says_how_to_be_known(app):
    seen = set()
    for route in routes(app):
        if route.rule is OPEN:
            continue
        answer = status(app, route, {})
        assert set(json.loads(answer.body)) == SHAPES[route.protocol], route.pattern
        assert dict(answer.headers)[b"www-authenticate"] == b'Bearer realm="lading"'
        denied = status(app, route, KEYS.header("admin other" if "name" in route.pattern else "read other"))
        if code(denied) == 403:
            assert b"www-authenticate" not in dict(denied.headers)
            assert b"other" in denied.body
        seen.add(route.protocol)
    assert seen == set(SHAPES)


def test_a_list_has_the_models_that_its_caller_may_see(app):
    route = next(route for route in app.router.routes if route.pattern == "/models")
    listed = {}
    for name in KEYS.by_name:
        if "expired" not in name:
            answer = status(app, route, KEYS.header(name))
            listed[name] = [model["name"] for model in json.loads(answer.body)["models"]]
    assert listed == {name: [] if "other" in name else ["iris"] for name in listed}


def test_probes_need_a_key_where_the_file_says_so(plane):
    keys = Keys(text="open_health = false\n")
    keys.add("probe", "read", more='models = ["other"]')
    closed = make_app(plane, SETTINGS, gate=keys.gate())
    health = next(route for route in closed.router.routes if route.pattern == "/health")
    assert code(status(closed, health, {})) == 401
    assert code(status(closed, health, keys.header("probe"))) == 200


# gRPC


@pytest.fixture(scope="module")
def channel(plane) -> Iterator[grpc.Channel]:
    access = RequestAccess(KEYS.gate(), plane, Callers())
    pipeline = Pipeline(plane, Metrics(plane), access=access)
    server = GrpcServer(pipeline, ServeSettings(), tuple(services()))
    port = server.start("127.0.0.1", 0)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as opened:
            yield opened
    finally:
        server.stop(1)


def message_of(service: Any, method: Any) -> bytes:
    """Return a message of a method that is about the model `iris`, if it can name one."""
    described = descriptors.service(service.protos, service.name).methods_by_name[method.name].input_type
    made = descriptors.message(service.protos, described.full_name)()
    fields = described.fields_by_name
    if "model_spec" in fields:
        made.model_spec.name = "iris"
    elif "tasks" in fields:
        made.tasks.add().model_spec.name = "iris"
    elif "model_name" in fields:
        made.model_name = "iris"
    elif "name" in fields:
        made.name = "iris"
    return bytes(made.SerializeToString())


def call(channel: grpc.Channel, service: Any, method: Any, headers: dict[str, str]) -> grpc.StatusCode:
    name, metadata = f"/{service.name}/{method.name}", tuple(headers.items())
    data = message_of(service, method)
    try:
        if method.frame is not None:
            answers = channel.stream_stream(name)(iter([data]), timeout=10, metadata=metadata)
            # A message that is refused is answered within the stream, which goes on.
            framed = descriptors.message("oip", "inference.ModelStreamInferResponse").FromString(
                next(answers)
            )
            refused = "expected a caller who may" in framed.error_message
            return grpc.StatusCode.PERMISSION_DENIED if refused else grpc.StatusCode.OK
        channel.unary_unary(name)(data, timeout=10, metadata=metadata)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_every_rpc_answers_who_may_and_nobody_else(channel):
    unknown, denied = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
    wrong, opened = [], set()
    for service in services():
        described = descriptors.service(service.protos, service.name).methods_by_name
        for method in service.methods:
            assert method.name in described
            if method.rule is OPEN:
                opened.add(method.name)
                wrong += [method.name] if call(channel, service, method, {}) in (unknown, denied) else []
                continue
            # A rule about a model without a way to find it would look at none.
            assert method.rule.of_model is (method.models(_named(service, method)) != ()), method.name
            for headers in ({}, {"authorization": f"Bearer {new_key()}"}, KEYS.header("admin expired")):
                if (status := call(channel, service, method, headers)) is not unknown:
                    wrong.append(f"{method.name} {headers}: {status}")
            for role in ROLES:
                for models in ("all", "iris", "other"):
                    status = call(channel, service, method, KEYS.header(f"{role} {models}"))
                    expected = is_allowed(method.rule.name, role, models)
                    if (status not in (unknown, denied)) is not expected:
                        wrong.append(f"{method.name} {role} {models}: {status}")
    assert wrong == []
    assert opened == OPEN_METHODS


def _named(service: Any, method: Any) -> Any:
    described = descriptors.service(service.protos, service.name).methods_by_name[method.name].input_type
    return descriptors.message(service.protos, described.full_name).FromString(message_of(service, method))


def test_tasks_of_one_call_are_each_looked_at(channel):
    made = descriptors.message("tfs", "tensorflow.serving.MultiInferenceRequest")()
    made.tasks.add().model_spec.name = "iris"
    made.tasks.add().model_spec.name = "other"
    ask = channel.unary_unary("/tensorflow.serving.PredictionService/MultiInference")
    for name in ("predict iris", "predict other"):
        with pytest.raises(grpc.RpcError) as refused:
            ask(made.SerializeToString(), timeout=10, metadata=tuple(KEYS.header(name).items()))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_statistics_of_all_models_are_for_who_may_see_all(channel):
    ask = channel.unary_unary("/inference.GRPCInferenceService/ModelStatistics")
    assert ask(b"", timeout=10, metadata=tuple(KEYS.header("read all").items()))
    with pytest.raises(grpc.RpcError) as refused:
        ask(b"", timeout=10, metadata=tuple(KEYS.header("read iris").items()))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_a_large_message_of_nobody_is_not_read(channel):
    ask = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError) as refused:
        ask(b"\xff" * 1_000_000, timeout=10)  # No message at all, which nobody looks at.
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "name", ["grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection"]
)
def test_reflection_is_for_callers_who_are_known(channel, name):
    ask = channel.stream_stream(f"/{name}/ServerReflectionInfo")
    listing = b"\x3a\x01*"  # list_services = "*"
    assert b"inference.GRPCInferenceService" in next(
        ask(iter([listing]), timeout=10, metadata=tuple(KEYS.header("predict other").items()))
    )
    with pytest.raises(grpc.RpcError) as refused:
        next(ask(iter([listing]), timeout=10))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_the_health_service_of_grpc_answers_everybody(channel):
    assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10) == b"\x08\x01"
