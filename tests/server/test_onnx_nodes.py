"""ONNX's own node tests through a real server: published inputs, sent every way, give published outputs.

All of them under `make test-clients`, every tenth in `make test`. What cannot be served is listed with its
reason in docs/reference/onnx-node-tests.md; `LADING_WRITE_PAGE=1 make test-clients` writes that page again.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from lading.parity import compare
from lading.server.grpc import descriptors
from lading.server.protocols.oip.tensors import DATATYPES, from_bytes, to_bytes
from lading.server.protocols.tfs import tensor_proto as tfs_tensors
from lading.signature import Tensor
from support.onnx_node_cases import NodeCase, bundle_name, node_cases, pack_all
from support.server_process import ServerProcess, serving
from support.waiting import wait_until

# One group: to make the models and load them takes longer than to send all of it once.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("onnx nodes")]

ALL = bool(os.environ.get("LADING_CLIENTS"))
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "onnx-node-tests.md"
LENGTH = "inference-header-content-length"


@dataclass
class Nodes:
    """The served cases, the server, and the reasons of those that are not served."""

    server: ServerProcess
    served: dict[str, NodeCase]
    refused: dict[str, str]
    failures: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("nodes")
    cases = list(node_cases())
    assert len({bundle_name(case.name) for case in cases}) == len(cases)
    packed, refused = pack_all(cases if ALL else cases[::10], folder)
    paths = [folder / name for name in packed]
    with serving(*paths, flags=("--threads", "1"), ready=False) as server:
        for version in loaded(server, len(packed)):
            if version["state"] != "READY":
                refused[packed.pop(version["name"]).name] = version["reason"]
        yield Nodes(server, packed, refused)


def loaded(server: ServerProcess, count: int) -> list[dict[str, str]]:
    """Wait until every version has loaded or failed."""
    with httpx.Client(base_url=server.url) as client:

        def index() -> list[dict[str, str]] | None:
            versions = client.post("/v2/repository/index").json()
            settled = all(version["state"] != "LOADING" for version in versions)
            return versions if settled and len(versions) == count else None

        return wait_until(index, 600, "every version is loaded or has failed")


def declared(case: NodeCase) -> list[tuple[Tensor, Any, dict[str, Any]]]:
    assert case.signature is not None
    assert case.inputs is not None
    return [
        (tensor, case.inputs[tensor.name], {
            "name": tensor.name, "shape": list(case.inputs[tensor.name].shape),
            "datatype": DATATYPES[tensor.dtype],
        })
        for tensor in case.signature.inputs
    ]  # fmt: skip


def send_json(client: httpx.Client, case: NodeCase) -> dict[str, Any]:
    inputs = [{**header, "data": array.tolist()} for _, array, header in declared(case)]
    text = json.dumps({"inputs": inputs})
    answer = client.post(f"/v2/models/{bundle_name(case.name)}/infer", content=text)
    assert answer.status_code == 200, answer.text
    return {
        output["name"]: np.array(output["data"], _dtype(case, output["name"])).reshape(output["shape"])
        for output in json.loads(answer.text)["outputs"]
    }


def send_binary(client: httpx.Client, case: NodeCase) -> dict[str, Any]:
    parts = [to_bytes(array) for _, array, _ in declared(case)]
    inputs = [
        {**header, "parameters": {"binary_data_size": len(part)}}
        for (_, _, header), part in zip(declared(case), parts, strict=True)
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    answer = client.post(
        f"/v2/models/{bundle_name(case.name)}/infer",
        content=b"".join((head, *parts)),
        headers={LENGTH: str(len(head))},
    )
    assert answer.status_code == 200, answer.text
    size = int(answer.headers[LENGTH])
    arrays, rest = {}, answer.content[size:]
    for output in json.loads(answer.content[:size])["outputs"]:
        length = output["parameters"]["binary_data_size"]
        arrays[output["name"]] = from_bytes(_output(case, output["name"]), output["shape"], rest[:length])
        rest = rest[length:]
    assert not rest
    return arrays


def send_grpc(call: Any, case: NodeCase) -> dict[str, Any]:
    inputs = [header for _, _, header in declared(case)]
    raw = [to_bytes(array) for _, array, _ in declared(case)]
    request = descriptors.message("oip", "inference.ModelInferRequest")
    answer = call(
        request(model_name=bundle_name(case.name), inputs=inputs, raw_input_contents=raw), timeout=30
    )
    return {
        output.name: from_bytes(_output(case, output.name), list(output.shape), data)
        for output, data in zip(answer.outputs, answer.raw_output_contents, strict=True)
    }


def send_tfs(call: Any, case: NodeCase, *, content: bool) -> dict[str, Any]:
    """Send by TensorFlow Serving's Predict, numbers as bytes (`content`) or in the field of their type."""
    request = descriptors.message("tfs", "tensorflow.serving.PredictRequest")()
    request.model_spec.name = bundle_name(case.name)
    for tensor, array, _ in declared(case):
        proto = request.inputs[tensor.name]
        if content and tensor.dtype != "string":
            proto.dtype = tfs_tensors.type_number(tensor.dtype)
            proto.tensor_content = to_bytes(array)
            for size in array.shape:
                proto.tensor_shape.dim.add().size = size
        else:
            tfs_tensors.to_proto(tensor, array, proto)
    answer = call(request, timeout=30)
    return {name: tfs_tensors.to_array(_output(case, name), proto) for name, proto in answer.outputs.items()}


def _output(case: NodeCase, name: str) -> Tensor:
    assert case.signature is not None
    return next(output for output in case.signature.outputs if output.name == name)


def _dtype(case: NodeCase, name: str) -> Any:
    return _output(case, name).numpy_dtype


def check(case: NodeCase, found: dict[str, Any]) -> None:
    assert case.outputs is not None
    assert found.keys() == case.outputs.keys()
    for name, expected in case.outputs.items():
        assert found[name].shape == expected.shape, name
        assert found[name].dtype == expected.dtype, name
    assert case.signature is not None
    assert case.tolerance is not None
    parity = compare(case.signature.outputs, case.outputs, found, case.tolerance)
    assert parity.holds, str(parity)


def each(nodes: Nodes, send: Any) -> None:
    """Send every case and collect what goes wrong, so that one failure does not hide the others."""
    failures = []
    for case in nodes.served.values():
        try:
            check(case, send(case))
        except (AssertionError, grpc.RpcError) as error:
            failures.append(f"{case.name}: {str(error)[:300]}")
    ended = nodes.server.process.poll()
    assert ended is None, f"the server ended with {ended}:\n{nodes.server.log[-2000:]}"
    assert failures == [], "\n".join(failures)
    assert len(nodes.served) > (1200 if ALL else 120)


def test_json_gives_the_published_outputs(nodes):
    with httpx.Client(base_url=nodes.server.url) as client:
        each(nodes, lambda case: send_json(client, case))


def test_bytes_give_the_published_outputs(nodes):
    with httpx.Client(base_url=nodes.server.url) as client:
        each(nodes, lambda case: send_binary(client, case))


def test_grpc_gives_the_published_outputs(nodes):
    answer = descriptors.message("oip", "inference.ModelInferResponse")
    with grpc.insecure_channel(nodes.server.grpc_target()) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        each(nodes, lambda case: send_grpc(call, case))


@pytest.mark.parametrize("content", [True, False])
def test_tensorflow_servings_grpc_gives_the_published_outputs(nodes, content):
    answer = descriptors.message("tfs", "tensorflow.serving.PredictResponse")
    with grpc.insecure_channel(nodes.server.grpc_target()) as channel:
        call = channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        each(nodes, lambda case: send_tfs(call, case, content=content))


def test_what_is_not_served_is_listed_with_its_reason(nodes):
    if ALL and os.environ.get("LADING_WRITE_PAGE"):
        PAGE.write_text(page(nodes))
    listed = set(re.findall(r"^\| `(test_\w+)` \|", PAGE.read_text(), re.MULTILINE))
    assert set(nodes.refused) <= listed
    assert not listed & {case.name for case in nodes.served.values()}


def page(nodes: Nodes) -> str:
    import onnx
    import onnxruntime

    counts = Counter(kind_of(reason) for reason in nodes.refused.values())
    lines = [
        "# ONNX node tests",
        "",
        "<!-- Written by `LADING_WRITE_PAGE=1 make test-clients` (tests/server/test_onnx_nodes.py) -->",
        "",
        f"onnx {onnx.__version__} comes with {len(nodes.served) + len(nodes.refused)} node tests.",
        f"ONNX Runtime {onnxruntime.__version__} serves {len(nodes.served)} of them from bundles:",
        "their published inputs, sent as JSON, as bytes and over gRPC, give their published outputs.",
        "A size of 0 counts as a dynamic dimension. The others are not served:",
        "",
        "| why | tests |",
        "|---|---|",
        *(f"| {kind} | {count} |" for kind, count in counts.most_common()),
        "",
        "| test | why |",
        "|---|---|",
        *(f"| `{name}` | {one_line(reason)} |" for name, reason in sorted(nodes.refused.items())),
    ]
    return "\n".join(lines) + "\n"


def kind_of(reason: str) -> str:
    kinds = {
        "golden samples": "ONNX Runtime gives other outputs than the published ones",
        "IR version": "newer than this ONNX Runtime",
        "opset": "newer than this ONNX Runtime",
        "operators": "an operator that ONNX Runtime does not have",
        "kernels": "an operator without a kernel for the CPU and this type",
        "loads": "ONNX Runtime refuses the model",
        "failed": "the run fails",
    }
    sentence = next((sentence for word, sentence in kinds.items() if word in reason), None)
    return sentence or re.sub(r" of \w+$", " of another type than a signature has", reason)


def one_line(reason: str) -> str:
    text = re.sub(r"\s+", " ", reason).replace("|", "\\|")
    return text if len(text) <= 160 else f"{text[:159]}…"
