"""Images in real containers: built without an engine, run by podman, read by tools that nobody here wrote."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from lading.bundle import Bundle, Samples, write_bundle
from lading.image.engine import Engine
from lading.image.equivalence import compare, comparison_inputs
from lading.registry import Registry
from lading.release import Plan
from lading.server.grpc import descriptors
from lading.signature import Array, Signature, Tensor
from support.bundles import REQUIREMENTS, linear_bundle, linear_draft
from support.image_environment import (
    ROWS,
    Registries,
    address,
    container_log,
    manifest_of,
    opened,
    start_container,
    wait_ready,
)
from support.images import lading, run
from support.recorded_evidence import record_evidence
from support.server_process import serving
from support.waiting import wait_until

# All in one process: the runtime image is built once, and podman's folder is one.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("containers")]


def test_image_and_pulled_bundle_give_the_same_answers_over_rest_and_grpc(registries, iris):
    identity = start_container(iris["image"])
    url = "http://" + address(identity, "http")
    wait_ready(url)
    bundle = Bundle.open(registries.folder / "iris-1.bundle")
    batches = [inputs["X"] for _, inputs in comparison_inputs(bundle)]  # The golden rows, then random ones.
    with serving("iris:1", environ=registries.environ) as reference:
        urls = (url, reference.url)
        digests = [httpx.get(f"{server}/models/iris").json()["digest"] for server in urls]
        assert digests[0] == digests[1] == iris["bundles"][0]["digest"]
        comparison = compare(*urls, bundle)
        assert (comparison.rows, comparison.differing) == (sum(map(len, batches)), 0)
        targets = (address(identity, "grpc"), reference.grpc_target())
        from_image, from_reference = (predict_over_grpc(target, batches) for target in targets)
        assert from_image == from_reference
    # Not only equal but right: the golden rows have the answers in the bundle, bit by bit.
    golden = bundle.samples().outputs
    assert from_image[0] == {name: array.tobytes() for name, array in golden.items()}
    assert len(set(map(repr, from_image))) > len(batches) // 2, "different rows have different answers"
    assert (
        run("podman", "exec", identity, "/usr/bin/python3", "-c", "import os; print(os.getuid())").strip()
        == "65532"
    )
    began = time.monotonic()
    run("podman", "stop", "--time=20", identity)
    assert time.monotonic() - began < 10
    assert run("podman", "inspect", "--format", "{{.State.ExitCode}}", identity).strip() == "0"
    assert "drained; bye" in container_log(identity)


def predict_over_grpc(target: str, batches: list[Array]) -> list[dict[str, bytes]]:
    """Return the raw bytes of every output by its name, for each batch."""
    names = [f"inference.ModelInfer{kind}" for kind in ("Request", "Response")]
    request_type, response_type = (descriptors.message("oip", name) for name in names)
    answers = []
    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=request_type.SerializeToString,
            response_deserializer=response_type.FromString,
        )
        for rows in batches:
            tensor = {"name": "X", "datatype": "FP32", "shape": rows.shape}
            raw = [rows.tobytes()]
            answer = call(
                request_type(model_name="iris", inputs=[tensor], raw_input_contents=raw), timeout=10
            )
            outputs = [output.name for output in answer.outputs]
            answers.append(dict(zip(outputs, answer.raw_output_contents, strict=True)))
    return answers


@pytest.mark.alone
def test_from_start_to_first_prediction_takes_at_most_1500_ms(iris):
    run("podman", "pull", "--quiet", iris["image"])
    durations_s = []
    for _ in range(3):
        began = time.monotonic()
        identity = start_container(iris["image"], "serve")
        url = "http://" + address(identity, "http")
        wait_until(lambda url=url: predicts(url), 30, lambda identity=identity: container_log(identity))
        durations_s.append(time.monotonic() - began)
        run("podman", "rm", "--force", "--time=5", identity)
    assert min(durations_s) <= 1.5, durations_s


def predicts(url: str) -> bool:
    """Return whether a server answers with a prediction."""
    with contextlib.suppress(httpx.TransportError):
        return httpx.post(f"{url}/predict", json={"data": ROWS}).status_code == 200
    return False


def test_the_layer_of_an_image_is_mounted_from_the_store(registries, iris):
    with registries.open() as registry:
        blob = registry.resolve("iris:1").blob
    image = manifest_of(f"{registries.address}/iris", iris["digest"])
    artifact = manifest_of(f"{registries.address}/registries/models", "iris-1")
    layers = [manifest["layers"][-1]["digest"] for manifest in (image, artifact)]
    assert layers == [blob, blob]
    # Only a configuration and a manifest were sent: the layers of the runtime and the bundle were mounted.
    assert iris["bytes_sent"] < 32 * 1024


@pytest.mark.alone
def test_an_image_of_a_new_version_is_built_within_a_second_and_reproducibly(registries):
    # 1 MB of weights; the store is a folder, so that the layer has to be sent.
    path = registries.folder / "mega.bundle"
    size = (
        linear_bundle(path, "mega", features=1024, classes=256, labels=False, rows=4)
        .model_path.stat()
        .st_size
    )
    assert size > 1_000_000
    runs = []
    for _ in range(3):
        began = time.monotonic()
        runs.append(registries.build(str(path), f"mega-{len(runs)}:1"))
        runs[-1]["duration_s"] = time.monotonic() - began
    layer_bytes = manifest_of(f"{registries.address}/mega-0", "1")["layers"][-1]["size"]
    assert len({built["digest"] for built in runs}) == 1
    assert min(built["duration_s"] for built in runs) <= 1.0
    assert max(built["bytes_sent"] for built in runs) <= layer_bytes + 32 * 1024


def test_one_image_serves_several_bundles(registries, iris):
    registries.push(1, "wine")
    image = f"{registries.address}/both:1"
    registries.lading("image", "build", "iris:1", "wine:1", "--base", registries.runtime, "--to", image)
    identity = start_container(image)
    url = "http://" + address(identity, "http")
    wait_ready(url)
    assert {model["name"] for model in httpx.get(f"{url}/models").json()["models"]} == {"iris", "wine"}
    run("podman", "rm", "--force", "--time=5", identity)


def test_a_verified_image_is_in_the_matrix_under_its_own_fingerprint(registries, iris):
    answer = json.loads(registries.lading("image", "verify", iris["image"], "--against", "iris:1", "--json"))
    checks = {check["name"]: check["outcome"] for check in answer["evidence"]["checks"]}
    assert answer["holds"]
    assert (checks["bundle"], checks["equivalence"], checks["golden"]) == ("passed", "passed", "passed")
    contents = json.loads(registries.lading("image", "inspect", registries.runtime, "--json"))
    runtime = contents["platforms"][0]["runtime"]
    assert answer["evidence"]["fingerprint"]["image"] == runtime
    cells = json.loads(registries.lading("matrix", "iris", "--json"))["evidence"]
    assert [runtime] == [cell["fingerprint"]["image"] for cell in cells if cell["fingerprint"]["image"]]


def test_comparing_with_another_version_is_refused_and_the_image_still_serves(registries, iris):
    other = registries.push(2)
    before = registries.lading("matrix", "iris", "--json")
    registries.lading("image", "verify", iris["image"], "--against", other, code=1)
    assert registries.lading("matrix", "iris", "--json") == before
    with in_registry(registries, iris["image"]) as url:
        wait_ready(url)


def test_an_image_that_answers_differently_does_not_serve_if_it_knows_the_registry(registries):
    noisy_bundle(registries.folder / "noisy.bundle")
    ref = registries.lading("push", registries.folder / "noisy.bundle").strip()
    image = registries.build(ref, "noisy:1")["image"]
    with in_registry(registries, image) as url:
        wait_ready(url)
    # Its golden rows hold: only a comparison of two servers shows that random rows do not.
    answer = json.loads(registries.lading("image", "verify", image, "--against", ref, "--json", code=1))
    failed = [check for check in answer["evidence"]["checks"] if check["outcome"] == "failed"]
    assert [check["name"] for check in failed] == ["equivalence"]
    with in_registry(registries, image) as url:
        wait_until(lambda: httpx.get(f"{url}/health").json()["health"] != "loading")
        health = httpx.get(f"{url}/health")
        assert health.status_code == 503
        assert failed[0]["found"].partition(";")[0] in health.text
        refused = httpx.post(f"{url}/models/noisy/predict", json={"data": ROWS})
        assert refused.status_code == 503


@contextlib.contextmanager
def in_registry(registries: Registries, image: str) -> Iterator[str]:
    """Run an image that knows the registry, writable for the user in it, and return its address."""
    shared = Path(registries.environ["LADING_REGISTRY"])
    for path in (shared, *shared.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    for folder in shared.parents[: len(shared.parts) - 3]:
        folder.chmod(0o755)
    options = (f"--volume={shared}:{shared}",)
    identity = start_container(image, environ=registries.environ, options=options)
    try:
        yield "http://" + address(identity, "http")
    finally:
        run("podman", "rm", "--force", "--time=5", identity)


def noisy_bundle(path: Path) -> None:
    """Write a bundle whose answers are random, except to its golden rows of only 0 and 7."""
    nodes = [
        helper.make_node("Sub", ["seven", "X"], ["rest"]),
        helper.make_node("Mul", ["X", "rest"], ["between"]),
        helper.make_node("RandomUniformLike", ["X"], ["noise"]),
        helper.make_node("Mul", ["between", "noise"], ["moved"]),
        helper.make_node("Add", ["X", "moved"], ["Y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in "XY"]
    seven = numpy_helper.from_array(np.array([7], np.float32), "seven")
    graph = helper.make_graph(nodes, "noisy", ends[:1], ends[1:], [seven])
    onnx_model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    rows = np.random.default_rng(7).choice([0, 7], (16, 4)).astype(np.float32)
    tensors = [(Tensor(name=name, dtype="float32", shape=("batch", 4)),) for name in "XY"]
    draft = linear_draft("noisy", labels=False, signature=Signature(inputs=tensors[0], outputs=tensors[1]))
    samples = Samples(inputs={"X": rows}, outputs={"Y": rows}, rows=len(rows))
    model = onnx_model.SerializeToString(deterministic=True)
    write_bundle(path, draft, model=model, samples=samples, requirements=REQUIREMENTS)


def test_both_patterns_are_in_the_inventory(registries):
    # A model of its own, because killed servers of other tests stay listed for a while.
    ref = registries.push(3, "listed")
    built = registries.build(ref, "listed:1")
    with (
        in_registry(registries, built["image"]) as url,
        serving(ref, environ=registries.environ) as loading,
        registries.open() as registry,
    ):
        wait_ready(url)
        wait_ready(loading.url)
        wait_until(lambda: len(serving_of(registry, "listed")) >= 2, 20, registry.fleet.replicas)
        listed = sorted(serving_of(registry, "listed"))
    assert listed == [(pattern, built["bundles"][0]["digest"]) for pattern in ("in-image", "load")]


def serving_of(registry: Registry, name: str) -> list[tuple[str, str | None]]:
    """List pattern and digest for every live replica that serves a model."""
    live = [replica for replica in registry.fleet.replicas() if not replica.gone]
    models = [(replica, model) for replica in live for model in replica.models]
    return [(replica.pattern, model.digest) for replica, model in models if model.name == name]


def test_prune_removes_unneeded_images_and_keeps_bundles(registries):
    for seed in (11, 12, 13):
        ref = registries.push(seed, "pruned")
        registries.build(ref, f"pruned:{ref.partition(':')[2]}")
    with registries.open() as registry:
        record_evidence(registry, "pruned:2")
        registry.releases.begin("pruned", 2, Plan(mode="live"), actor="tests")
    place = f"{registries.address}/pruned"
    with serving("pruned:1", environ=registries.environ) as server, registries.open() as registry:
        # While it is in the inventory, its image is needed to start it again.
        server.wait_until(lambda: serving_of(registry, "pruned"))
        pruned = json.loads(registries.lading("image", "prune", place, "--keep", "1", "--json"))
        assert pruned["removed"] == []
        assert any("replica" in reason for kept in pruned["kept"] for reason in kept["kept_by"])
        server.stop()
    dry_run = json.loads(registries.lading("image", "prune", place, "--keep", "1", "--dry-run", "--json"))
    assert [image["tags"] for image in dry_run["removed"]] == [["1"]]
    with opened(place) as repository:
        assert len(repository.tags()) == 3
    pruned = json.loads(registries.lading("image", "prune", place, "--keep", "1", "--json"))
    assert pruned == dry_run
    images = json.loads(registries.lading("image", "list", place, "--json"))
    assert [image["tags"] for image in images] == [["2"], ["3"]]
    with registries.open() as registry:
        assert registry.fetch("pruned:1").manifest.name == "pruned"


def test_building_the_runtime_is_reproducible(tmp_path):
    from support.images import ROOT, root_filesystem

    wheels = tmp_path / "wheels"
    wheels.mkdir()
    # A few small wheels are enough, because only the order of files could differ.
    pins = [line for line in (ROOT / "requirements" / "serve.txt").read_text().splitlines() if "==" in line]
    few = [line.partition(" ")[0] for line in pins if line.split("==")[0] in {"click", "h11", "msgspec"}]
    (tmp_path / "few.txt").write_text("\n".join(few) + "\n")
    digests = []
    for name in ("one", "two"):
        to = f"oci:{tmp_path / name}:runtime"
        output = lading(
            "image", "base", "--from", root_filesystem(), "--wheels", tmp_path / "few.txt", "--to", to,
            "--compress", "none", "--json",
        )  # fmt: skip
        digests.append(json.loads(output)["digest"])
    assert digests[0] == digests[1]


def test_an_engine_error_is_reported_with_its_message(registries):
    from lading.errors import UsageError

    with pytest.raises(UsageError, match="expected the image"):
        Engine("podman").pull(f"{registries.address}/nothing:1", insecure=True)


def test_no_variable_of_the_host_reaches_the_image(iris):
    assert "LADING_REGISTRY" not in os.environ
    run("podman", "pull", "--quiet", iris["image"])
    env = json.loads(run("podman", "inspect", "--format", "{{json .Config.Env}}", iris["image"]))
    assert {variable.partition("=")[0] for variable in env} == {
        "LADING_HOST", "LADING_IMAGE", "ORT_DISABLE_TELEMETRY",
        "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH",
    }  # fmt: skip
