"""What lading uses of other libraries that they do not document: it may go with any of their releases.

Each has an upper bound in pyproject.toml. A release beyond it is let in when this file passes with it.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import importlib.util
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import grpc._server as grpc_server
import httpx
import numpy as np
import pip
import pytest
import uvicorn
from botocore.awsrequest import AWSResponse
from botocore.session import get_session
from skl2onnx.common._registration import get_converter
from sklearn.cross_decomposition import PLSSVD
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import KNNImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.preprocessing import PowerTransformer
from sklearn.svm import SVC
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from lading.onnx_runtime import import_onnxruntime
from lading.server.http.protocol import PendingAnswer
from support.bundles import linear_bundle

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "lading"


class Part(NamedTuple):
    """One undocumented part: whose it is, what it is, and the file of lading that uses it."""

    library: str
    name: str
    used_by: str

    @property
    def sentence(self) -> str:
        return f"{self.library}: expected `{self.name}`, which src/lading/{self.used_by} uses; it has gone"


HTTP_TOOLS_PROTOCOL = """
    client connections cycle flow headers logger loop parser pipeline scheme scope server_state
    timeout_keep_alive timeout_keep_alive_task transport url on_body on_header on_headers_complete
    on_message_begin on_message_complete on_response_complete pause_writing resume_writing shutdown
    timeout_keep_alive_handler
    _unset_keepalive_if_required
"""

# By library and by the object that has them, which `owners` makes: the file that uses them, and their names.
UVICORN = {
    "uvicorn.protocols.http.httptools_impl": (
        "server/http/protocol.py",
        "HttpToolsProtocol RequestResponseCycle STATUS_LINE",
    ),
    "HttpToolsProtocol": ("server/http/protocol.py", HTTP_TOOLS_PROTOCOL),
    "RequestResponseCycle": (
        "server/http/connection.py",
        "disconnected keep_alive message_event more_body response_complete response_started",
    ),
    "a cycle on Ray": ("deploy/whole_answers.py", "send transport"),
    "FlowControl": ("server/http/connection.py", "pause_reading read_paused resume_reading write_paused"),
    "ServerState": ("server/http/protocol.py", "connections default_headers total_requests"),
    "Server": (
        "server/process/http_server.py",
        "force_exit handle_exit lifespan on_tick server_state servers should_exit startup",
    ),
    "Config": ("server/process/http_server.py", "http_protocol_class ssl"),
}
ONNXRUNTIME = {
    "InferenceSession": ("runtime/onnx/session.py", "_sess"),
    "InferenceSession._sess": ("runtime/onnx/session.py", "run run_with_iobinding"),
    "IOBinding": ("runtime/onnx/bindings.py", "_iobinding"),
    "onnxruntime.capi.onnxruntime_pybind11_state": ("onnx_runtime/error_text.py", "Fail InvalidArgument"),
}
SKL2ONNX = {
    "skl2onnx._supported_operators": ("convert/sklearn_repairs.py", "_get_sklearn_operator_name"),
    "skl2onnx.common._registration": (
        "convert/sklearn_added.py",
        "get_converter _converter_pool _shape_calculator_pool RegisteredConverter",
    ),
    "skl2onnx.common._apply_operation": ("convert/sklearn_scalers.py", "apply_cast apply_div apply_sub"),
    "skl2onnx._parse": (
        "convert/graph_nodes.py",
        "_parse_sklearn _parse_sklearn_simple_model sklearn_parsers_map",
    ),
    "skl2onnx": ("convert/sklearn_added.py", "_parse _supported_operators"),
    "skl2onnx.common": ("convert/sklearn_added.py", "_registration"),
    "get_converter()": ("convert/sklearn_trees.py", "get_allowed_options _fct"),
}
# skl2onnx reads these trees as well, so its bound holds for them.
SKLEARN = {
    "HistGradientBoosting": (
        "convert/sklearn_categories.py",
        "_predictors _preprocessor _is_categorical_remapped _bin_mapper",
    ),
    "HistGradientBoosting._bin_mapper": (
        "convert/sklearn_categories.py",
        "make_known_categories_bitsets",
    ),
    "SVC": ("convert/sklearn_kernels.py", "_gamma _intercept_ _dual_coef_"),
    "PLSSVD": ("convert/sklearn_matrices.py", "_x_mean"),
    "KNNImputer": ("convert/sklearn_learned_imputers.py", "_fit_X"),
    "PowerTransformer": ("convert/sklearn_powers.py", "_scaler"),
    "TunedThreshold": ("convert/sklearn_meta.py", "_curve_scorer"),
    "TunedThreshold._curve_scorer": ("convert/sklearn_meta.py", "_get_pos_label"),
}
GRPCIO = {
    "grpc._server": (
        "server/grpc/server_call.py",
        "_Context _is_rpc_state_active _possibly_finish_call _status",
    ),
    "grpc": ("server/grpc/server_call.py", "_cython _server"),
    "grpc._cython.cygrpc": ("server/grpc/server_call.py", "ReceiveMessageOperation SendMessageOperation"),
    "_RPCState": ("server/grpc/server_call.py", "condition due initial_metadata_allowed"),
}
HTTPX = {
    "httpx.Client": ("bounded_http.py", "_transport _mounts"),
    "httpx.Client._transport": ("bounded_http.py", "_pool"),
    "httpx.Client._transport._pool": ("bounded_http.py", "_network_backend"),
}
BOTOCORE = {
    "S3 client": ("registry/store/s3/bounded.py", "_endpoint"),
    "S3 client._endpoint": ("registry/store/s3/bounded.py", "http_session"),
    "botocore.awsrequest.AWSResponse": ("registry/store/s3/bounded.py", "content raw"),
}
PARTS = [
    (owner, Part(library, f"{owner}.{name}", used_by))
    for library, owners in {
        "uvicorn": UVICORN,
        "onnxruntime": ONNXRUNTIME,
        "skl2onnx": SKL2ONNX,
        "scikit-learn": SKLEARN,
        "grpcio": GRPCIO,
        "httpx": HTTPX,
        "botocore": BOTOCORE,
    }.items()
    for owner, (used_by, names) in owners.items()
    for name in names.split()
]

# What the tests below look at in another way: whom uvicorn and grpcio call.
BOUNDED = {"uvicorn", "onnxruntime", "skl2onnx", "grpcio", "httpx", "httpcore", "botocore"}


def test_pip_has_the_file_by_which_another_python_runs_it():
    # No upper bound: pip is the user's own. Without the file, environments are built by uv alone.
    assert Path(pip.__file__).with_name("__pip-runner__.py").is_file(), "runtime/python/installers.py uses it"


@pytest.fixture(scope="module")
def owners(tmp_path_factory) -> dict[str, Any]:
    model = linear_bundle(tmp_path_factory.mktemp("model") / "iris.bundle").path / "model.onnx"
    session = import_onnxruntime().InferenceSession(str(model), providers=["CPUExecutionProvider"])
    rows = [[float(number)] for number in range(20)]
    tuned = TunedThresholdClassifierCV(LogisticRegression(), cv=2).fit(rows, [0, 1] * 10)
    boosted = HistGradientBoostingRegressor(max_iter=1, categorical_features=[0])
    http, bucket = httpx.Client(), get_session().create_client("s3", region_name="us-east-1")
    boosted.fit(np.array([[0.0], [1.0]]), [0.0, 1.0])
    return {
        "TunedThreshold": tuned,
        "TunedThreshold._curve_scorer": getattr(tuned, "_curve_scorer", None),
        "SVC": SVC().fit(rows, [0, 1] * 10),
        "PLSSVD": PLSSVD(1).fit(rows, rows),
        "KNNImputer": KNNImputer().fit([[0.0], [1.0]]),
        "PowerTransformer": PowerTransformer().fit([[0.0], [1.0]]),
        **asyncio.run(uvicorn_owners()),
        "InferenceSession": session,
        "InferenceSession._sess": getattr(session, "_sess", None),
        "IOBinding": session.io_binding(),
        "_RPCState": grpc_server._RPCState(),
        "get_converter()": get_converter("SklearnHistGradientBoostingRegressor"),
        "httpx.Client": http,
        "httpx.Client._transport": getattr(http, "_transport", None),
        "httpx.Client._transport._pool": getattr(http._transport, "_pool", None),
        "S3 client": bucket,
        "S3 client._endpoint": getattr(bucket, "_endpoint", None),
        "botocore.awsrequest.AWSResponse": AWSResponse("http://x", 200, {}, SimpleNamespace(stream=list)),
        "HistGradientBoosting": boosted,
        "HistGradientBoosting._bin_mapper": getattr(boosted, "_bin_mapper", None),
    }


async def uvicorn_owners() -> dict[str, Any]:
    """Start a server without sockets, as a worker does that accepts from the supervisor's."""
    config = uvicorn.Config(print, lifespan="off", http="httptools", ws="none", log_config=None)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[])
    protocol = HttpToolsProtocol(config, server.server_state, {})
    protocol.on_message_begin()  # Makes `url`.
    flow, logger = FlowControl(asyncio.Transport()), protocol.logger
    cycle = RequestResponseCycle(
        *(protocol.scope, protocol.transport, flow, logger, logger),
        access_log=False,
        default_headers=[],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=True,
        on_response=print,
    )
    made = (config, server, server.server_state, protocol, flow, cycle)
    return {type(owner).__name__: owner for owner in made} | {"a cycle on Ray": cycle}


@pytest.mark.slow
@pytest.mark.parametrize(("owner", "part"), PARTS, ids=[part.name for _, part in PARTS])
def test_an_undocumented_part_of_a_library_still_exists(owners, owner, part):
    if owner not in owners:
        owners[owner] = importlib.import_module(owner)
    assert hasattr(owners[owner], part.name.rpartition(".")[2]), part.sentence


def attributes_of(source: str, variable: str) -> set[str]:
    """Collect `name` of each `variable.name` in Python source."""
    return set(re.findall(rf"\b{re.escape(variable)}\.(\w+)", source))


def test_uvicorn_asks_no_more_of_an_unfinished_response_than_a_pending_answer_has():
    """`PendingAnswer` stands where uvicorn keeps its `RequestResponseCycle`."""
    calls = ("connection_lost", "eof_received", "pause_writing", "resume_writing", "shutdown")
    source = "".join(inspect.getsource(getattr(HttpToolsProtocol, name)) for name in calls)
    assert attributes_of(source, "self.cycle") <= set(PendingAnswer.__slots__)
    assert attributes_of(source, "self.cycle.message_event") == {"set"}


def test_grpcio_hands_calls_to_its_threads_as_lading_takes_them():
    """`Dispatcher` stands where grpcio documents a `ThreadPoolExecutor`, and begins calls itself."""
    source = inspect.getsource(grpc_server)
    assert attributes_of(source, "thread_pool") == {"submit"}
    # What it returns, None, is not counted; no limit of calls is set that would ask for it.
    assert "if rpc_future is not None:" in source
    submit = inspect.getsource(grpc_server._handle_stream_stream)
    arguments = re.findall(r"[\w.]+", submit[submit.index("submit(") :])[1:6]
    assert arguments == [
        "state.context.run",
        "_stream_response_in_pool",
        "rpc_event",
        "state",
        "method_handler.stream_stream",
    ]


def test_a_library_whose_undocumented_parts_are_used_has_an_upper_bound():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    requirements = project["dependencies"] + [
        line for name in ("serve", "pack", "s3") for line in extras[name]
    ]
    for library in BOUNDED:
        asked = [line for line in requirements if re.match(rf"{library}[<>=]", line)]
        assert asked, library
        assert [line for line in asked if "<" not in line] == []


@pytest.mark.slow
def test_every_private_name_that_lading_uses_of_a_library_is_in_the_list():
    listed = {name for _, part in PARTS for name in re.split(r"\W+", part.name)}
    used = {
        f"{path.relative_to(SOURCE)}: {name}"
        for path in sorted(SOURCE.rglob("*.py"))
        for name in private_names(ast.parse(path.read_text()))
        if name not in listed
    }
    assert used == set()


def private_names(tree: ast.Module) -> Iterator[str]:
    """Name what a module uses that begins with an underscore and that neither it nor lading defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not str(node.module).startswith("lading"):
            parts = [*str(node.module).split("."), *(alias.name for alias in node.names)]
            yield from (name for name in parts if is_private(name))
    own = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_own(node.value)}
    own |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
            yield node.attr


def is_private(name: str) -> bool:
    # Python documents `os._exit` and what named tuples have; `os._Environ` is in its own stubs.
    return re.match(r"_[a-zA-Z]", name) is not None and name not in ("_exit", "_replace", "_Environ")


def is_own(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")
