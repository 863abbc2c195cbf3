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
from support.server_process import serving
from support.waiting import wait_until

# All in one process: the runtime image is built once, and podman's folder is one.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("containers")]


def test_the_image_and_the_pulled_bundle_answer_alike_over_rest_and_grpc(registries, iris):
    identity = start_container(iris["image"])
    url = "http://" + address(identity, "http")
    wait_ready(url)
    bundle = Bundle.open(registries.folder / "iris-1.bundle")
    asked = [inputs["X"] for _, inputs in comparison_inputs(bundle)]  # the golden rows, then random ones
    with serving("iris:1", environ=registries.environ) as twin:
        digests = [httpx.get(f"{one}/models/iris").json()["digest"] for one in (url, twin.url)]
        assert digests[0] == digests[1] == iris["bundles"][0]["digest"]
        same = compare(url, twin.url, bundle)
        assert (same.rows, same.differing) == (sum(map(len, asked)), 0)
        places = (address(identity, "grpc"), twin.grpc_target())
        from_image, loaded = (answers_over_grpc(place, asked) for place in places)
        assert from_image == loaded
    # Not only alike but right: the golden rows have the answers that the bundle says, bit by bit.
    golden = bundle.samples().outputs
    assert from_image[0] == {name: array.tobytes() for name, array in golden.items()}
    assert len(set(map(repr, from_image))) > len(asked) // 2, "other rows have other answers"
    assert (
        run("podman", "exec", identity, "/usr/bin/python3", "-c", "import os; print(os.getuid())").strip()
        == "65532"
    )
    began = time.monotonic()
    run("podman", "stop", "--time=20", identity)
    assert time.monotonic() - began < 10
    assert run("podman", "inspect", "--format", "{{.State.ExitCode}}", identity).strip() == "0"
    assert "drained; bye" in container_log(identity)


def answers_over_grpc(target: str, asked: list[Array]) -> list[dict[str, bytes]]:
    """Ask for predictions and give the raw bytes of every output, by its name."""
    kinds = [descriptors.message("oip", f"inference.ModelInfer{kind}") for kind in ("Request", "Response")]
    found = []
    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=kinds[0].SerializeToString,
            response_deserializer=kinds[1].FromString,
        )
        for rows in asked:
            described = {"name": "X", "datatype": "FP32", "shape": rows.shape}
            given = kinds[0](model_name="iris", inputs=[described], raw_input_contents=[rows.tobytes()])
            answer = call(given, timeout=10)
            names = [one.name for one in answer.outputs]
            found.append(dict(zip(names, answer.raw_output_contents, strict=True)))
    return found


@pytest.mark.alone
def test_run_to_first_prediction_takes_at_most_a_second_and_a_half(iris):
    run("podman", "pull", "--quiet", iris["image"])
    took = []
    for _ in range(3):
        began = time.monotonic()
        identity = start_container(iris["image"], "serve")
        url = "http://" + address(identity, "http")
        while True:
            assert time.monotonic() - began < 30, container_log(identity)
            try:
                if httpx.post(f"{url}/predict", json={"data": ROWS}).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.01)
        took.append(time.monotonic() - began)
        run("podman", "rm", "--force", "--time=5", identity)
    assert min(took) <= 1.5, took


def test_the_layer_of_the_image_is_the_blob_in_the_store_and_was_not_sent_again(registries, iris):
    with registries.open() as registry:
        blob = registry.resolve("iris:1").blob
    image = manifest_of(f"{registries.address}/iris", iris["digest"])
    artifact = manifest_of(f"{registries.address}/registries/models", "iris-1")
    layers = [one["layers"][-1]["digest"] for one in (image, artifact)]
    assert layers == [blob, blob]
    # Only a configuration and a manifest were: the layers of the runtime and the bundle were taken over.
    assert iris["bytes_sent"] < 32 * 1024


@pytest.mark.alone
def test_a_new_version_is_an_image_in_a_second_and_the_same_every_time(registries):
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
        runs[-1]["whole"] = time.monotonic() - began
    layer_bytes = manifest_of(f"{registries.address}/mega-0", "1")["layers"][-1]["size"]
    assert len({one["digest"] for one in runs}) == 1
    assert min(one["whole"] for one in runs) <= 1.0
    assert max(one["bytes_sent"] for one in runs) <= layer_bytes + 32 * 1024


def test_one_image_serves_several_bundles(registries, iris):
    registries.push(1, "wine")
    image = f"{registries.address}/both:1"
    registries.lading("image", "build", "iris:1", "wine:1", "--base", registries.runtime, "--to", image)
    identity = start_container(image)
    url = "http://" + address(identity, "http")
    wait_ready(url)
    assert {one["name"] for one in httpx.get(f"{url}/models").json()["models"]} == {"iris", "wine"}
    run("podman", "rm", "--force", "--time=5", identity)


def test_a_verified_image_is_in_the_matrix_under_its_own_fingerprint(registries, iris):
    answer = json.loads(registries.lading("image", "verify", iris["image"], "--against", "iris:1", "--json"))
    checks = {check["name"]: check["outcome"] for check in answer["evidence"]["checks"]}
    assert answer["holds"]
    assert (checks["bundle"], checks["equivalence"], checks["golden"]) == ("passed", "passed", "passed")
    runtime = json.loads(registries.lading("image", "inspect", registries.runtime, "--json"))["platforms"][0][
        "runtime"
    ]
    assert answer["evidence"]["fingerprint"]["image"] == runtime
    cells = json.loads(registries.lading("matrix", "iris", "--json"))["evidence"]
    assert [runtime] == [one["fingerprint"]["image"] for one in cells if one["fingerprint"]["image"]]


def test_comparing_with_another_version_is_refused_and_the_image_serves_on(registries, iris):
    other = registries.push(2)
    before = registries.lading("matrix", "iris", "--json")
    registries.lading("image", "verify", iris["image"], "--against", other, code=1)
    assert registries.lading("matrix", "iris", "--json") == before
    with in_registry(registries, iris["image"]) as url:
        wait_ready(url)


def test_an_image_that_answers_otherwise_is_refused_wherever_the_registry_is_known(registries):
    noisy_bundle(registries.folder / "noisy.bundle")
    ref = registries.lading("push", registries.folder / "noisy.bundle").strip()
    image = registries.build(ref, "noisy:1")["image"]
    with in_registry(registries, image) as url:
        wait_ready(url)
    # Its golden rows hold; only the two servers beside each other show that random ones do not.
    found = json.loads(registries.lading("image", "verify", image, "--against", ref, "--json", code=1))
    failed = [one for one in found["evidence"]["checks"] if one["outcome"] == "failed"]
    assert [one["name"] for one in failed] == ["equivalence"]
    with in_registry(registries, image) as url:
        wait_until(lambda: httpx.get(f"{url}/health").json()["health"] != "loading", 20)
        health = httpx.get(f"{url}/health")
        assert health.status_code == 503
        assert failed[0]["found"].partition(";")[0] in health.text
        refused = httpx.post(f"{url}/models/noisy/predict", json={"data": ROWS})
        assert refused.status_code == 503


@contextlib.contextmanager
def in_registry(registries: Registries, image: str) -> Iterator[str]:
    """Run an image that knows the registry, which another user writes to in there; give its address."""
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
    """Write a bundle that answers its golden rows, whose elements are 0 or 7, and others by chance."""
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
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    rows = np.random.default_rng(7).choice([0, 7], (16, 4)).astype(np.float32)
    tensors = [(Tensor(name=name, dtype="float32", shape=("batch", 4)),) for name in "XY"]
    draft = linear_draft("noisy", labels=False, signature=Signature(inputs=tensors[0], outputs=tensors[1]))
    samples = Samples(inputs={"X": rows}, outputs={"Y": rows}, rows=len(rows))
    model = made.SerializeToString(deterministic=True)
    write_bundle(path, draft, model=model, samples=samples, requirements=REQUIREMENTS)


def test_both_patterns_are_in_the_inventory(registries):
    # A model of its own: servers of other tests that were killed are listed for a while.
    ref = registries.push(3, "listed")
    built = registries.build(ref, "listed:1")
    with (
        in_registry(registries, built["image"]) as url,
        serving(ref, environ=registries.environ) as twin,
        registries.open() as registry,
    ):
        wait_ready(url)
        wait_ready(twin.url)
        wait_until(lambda: len(serving_of(registry, "listed")) >= 2, 20, registry.fleet.replicas)
        found = sorted(serving_of(registry, "listed"))
    assert found == [(pattern, built["bundles"][0]["digest"]) for pattern in ("in-image", "load")]


def serving_of(registry: Registry, name: str) -> list[tuple[str, str | None]]:
    """List pattern and digest for every live replica that serves a model."""
    live = [one for one in registry.fleet.replicas() if not one.gone]
    return [(one.pattern, model.digest) for one in live for model in one.models if model.name == name]


def test_prune_removes_images_that_nobody_needs_and_no_bundle(registries):
    for seed in (11, 12, 13):
        ref = registries.push(seed, "pruned")
        registries.build(ref, f"pruned:{ref.partition(':')[2]}")
    with registries.open() as registry:
        registry.releases.begin("pruned", 2, Plan(mode="live"), actor="tests")
    place = f"{registries.address}/pruned"
    with serving("pruned:1", environ=registries.environ) as server, registries.open() as registry:
        # In the inventory, so that its image is needed to start it again.
        server.wait_until(lambda: serving_of(registry, "pruned"))
        used = json.loads(registries.lading("image", "prune", place, "--keep", "1", "--json"))
        assert used["removed"] == []
        assert any("replica" in why for one in used["kept"] for why in one["kept_by"])
        server.stop()
    dry = json.loads(registries.lading("image", "prune", place, "--keep", "1", "--dry-run", "--json"))
    assert [one["tags"] for one in dry["removed"]] == [["1"]]
    with opened(place) as there:
        assert len(there.tags()) == 3
    done = json.loads(registries.lading("image", "prune", place, "--keep", "1", "--json"))
    assert done == dry
    left = json.loads(registries.lading("image", "list", place, "--json"))
    assert [one["tags"] for one in left] == [["2"], ["3"]]
    with registries.open() as registry:
        assert registry.fetch("pruned:1").manifest.name == "pruned"


def test_the_runtime_is_built_the_same_way_twice(tmp_path):
    from support.images import ROOT, root_filesystem

    wheels = tmp_path / "wheels"
    wheels.mkdir()
    # The smallest of what is needed will do: the order of things is what could differ.
    pins = [line for line in (ROOT / "requirements" / "serve.txt").read_text().splitlines() if "==" in line]
    few = [line.partition(" ")[0] for line in pins if line.split("==")[0] in {"click", "h11", "msgspec"}]
    (tmp_path / "few.txt").write_text("\n".join(few) + "\n")
    digests = []
    for run_ in ("one", "two"):
        to = f"oci:{tmp_path / run_}:runtime"
        made = lading(
            "image", "base", "--from", root_filesystem(), "--wheels", tmp_path / "few.txt", "--to", to,
            "--compress", "none", "--json",
        )  # fmt: skip
        digests.append(json.loads(made)["digest"])
    assert digests[0] == digests[1]


def test_the_engine_says_what_went_wrong(registries):
    from lading.errors import UsageError

    with pytest.raises(UsageError, match="expected the image"):
        Engine("podman").pull(f"{registries.address}/nothing:1", insecure=True)


def test_no_variable_of_the_host_reaches_the_image(iris):
    assert "LADING_REGISTRY" not in os.environ
    run("podman", "pull", "--quiet", iris["image"])
    env = json.loads(run("podman", "inspect", "--format", "{{json .Config.Env}}", iris["image"]))
    assert {one.partition("=")[0] for one in env} == {
        "LADING_HOST", "LADING_IMAGE", "ORT_DISABLE_TELEMETRY",
        "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH",
    }  # fmt: skip
