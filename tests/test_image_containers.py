"""Images in real containers: built without an engine, run by podman, read by tools that nobody here wrote."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import grpc
import httpx
import pytest

from imaging import lading, run
from lading.image.engine import Engine
from lading.release import Plan
from making import linear_bundle
from serving import serving
from yard import ROWS, address, answers, manifest_of, opened, said, started, wait_ready

# All in one process: the runtime image is built once, and podman's folder is one.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("containers")]


def test_the_image_and_the_pulled_bundle_answer_alike_over_rest_and_grpc(yard, iris):
    identity = started(iris["image"])
    url = "http://" + address(identity, "http")
    wait_ready(url)
    with serving("iris:1", environ=yard.environ) as twin:
        assert answers(url) == answers(twin.url)
        digests = [httpx.get(f"{one}/models/iris").json()["digest"] for one in (url, twin.url)]
        assert digests[0] == digests[1] == iris["bundles"][0]["digest"]
    with grpc.insecure_channel(address(identity, "grpc")) as channel:
        ready = channel.unary_unary("/inference.GRPCInferenceService/ServerReady")(b"")
        assert ready == b"\x08\x01"
    assert (
        run("podman", "exec", identity, "/usr/bin/python3", "-c", "import os; print(os.getuid())").strip()
        == "65532"
    )
    began = time.monotonic()
    run("podman", "stop", "--time=20", identity)
    assert time.monotonic() - began < 10
    assert run("podman", "inspect", "--format", "{{.State.ExitCode}}", identity).strip() == "0"
    assert "drained; bye" in said(identity)


@pytest.mark.alone
def test_run_to_first_prediction_takes_at_most_a_second_and_a_half(iris):
    run("podman", "pull", "--quiet", iris["image"])
    took = []
    for _ in range(3):
        began = time.monotonic()
        identity = started(iris["image"], "serve")
        url = "http://" + address(identity, "http")
        while True:
            try:
                if httpx.post(f"{url}/predict", json={"data": ROWS}).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.01)
        took.append(time.monotonic() - began)
        run("podman", "rm", "--force", "--time=5", identity)
    assert min(took) <= 1.5, took


def test_the_layer_of_the_image_is_the_blob_in_the_store_and_was_not_sent_again(yard, iris):
    with yard.open() as registry:
        blob = registry.resolve("iris:1").blob
    image = manifest_of(f"{yard.address}/iris", iris["digest"])
    artifact = manifest_of(f"{yard.address}/yard/models", "iris-1")
    layers = [one["layers"][-1]["digest"] for one in (image, artifact)]
    assert layers == [blob, blob]
    # Only a configuration and a manifest were: the layers of the runtime and the bundle were taken over.
    assert iris["bytes_sent"] < 32 * 1024


@pytest.mark.alone
def test_a_new_version_is_an_image_in_a_second_and_the_same_every_time(yard):
    # 1 MB of weights; the store is a folder, so that the layer has to be sent.
    path = yard.folder / "mega.bundle"
    size = (
        linear_bundle(path, "mega", features=1024, classes=256, labels=False, rows=4)
        .model_path.stat()
        .st_size
    )
    assert size > 1_000_000
    runs = []
    for _ in range(3):
        began = time.monotonic()
        runs.append(yard.build(str(path), f"mega-{len(runs)}:1"))
        runs[-1]["whole"] = time.monotonic() - began
    layer_bytes = manifest_of(f"{yard.address}/mega-0", "1")["layers"][-1]["size"]
    assert len({one["digest"] for one in runs}) == 1
    assert min(one["whole"] for one in runs) <= 1.0
    assert max(one["bytes_sent"] for one in runs) <= layer_bytes + 32 * 1024


def test_one_image_serves_several_bundles(yard, iris):
    yard.push(1, "wine")
    image = f"{yard.address}/both:1"
    yard.lading("image", "build", "iris:1", "wine:1", "--base", yard.runtime, "--to", image)
    identity = started(image)
    url = "http://" + address(identity, "http")
    wait_ready(url)
    assert {one["name"] for one in httpx.get(f"{url}/models").json()["models"]} == {"iris", "wine"}
    run("podman", "rm", "--force", "--time=5", identity)


def test_a_verified_image_is_in_the_matrix_under_its_own_fingerprint(yard, iris):
    answer = json.loads(yard.lading("image", "verify", iris["image"], "--against", "iris:1", "--json"))
    checks = {check["name"]: check["outcome"] for check in answer["evidence"]["checks"]}
    assert answer["holds"]
    assert (checks["bundle"], checks["equivalence"], checks["golden"]) == ("passed", "passed", "passed")
    runtime = json.loads(yard.lading("image", "inspect", yard.runtime, "--json"))["platforms"][0]["runtime"]
    assert answer["evidence"]["fingerprint"]["image"] == runtime
    cells = json.loads(yard.lading("matrix", "iris", "--json"))["evidence"]
    assert [runtime] == [one["fingerprint"]["image"] for one in cells if one["fingerprint"]["image"]]


def test_an_image_of_another_version_is_refused_and_then_refuses_it(yard, iris):
    yard.push(2)
    yard.lading("image", "verify", iris["image"], "--against", "iris:2", code=1)
    # The evidence is the image's own bundle's: it would be refused from now on in that runtime.
    yard.lading("image", "verify", iris["image"], "--against", "iris:1")


def test_an_image_is_refused_where_its_registry_knows_that_it_failed(yard):
    import msgspec

    from lading.evidence import Check

    ref = yard.push(7, "poor")
    image = yard.build(ref, "poor:1")["image"]
    answer = json.loads(yard.lading("image", "verify", image, "--against", ref, "--json"))["evidence"]
    from lading.evidence import Evidence

    known = msgspec.convert(answer, Evidence)
    bad = Check("equivalence", "failed", expected="bit-identical answers", found="9 of 304 rows differ")
    with yard.open() as registry:
        registry.record(msgspec.structs.replace(known, checks=(*known.checks, bad)))
    shared = yard.environ["LADING_REGISTRY"]
    for path in (Path(shared), *Path(shared).rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    options = (f"--volume={shared}:{shared}",)
    environ = {"LADING_REGISTRY": shared, "LADING_STORE": yard.environ["LADING_STORE"]}
    for folder in Path(shared).parents[: len(Path(shared).parts) - 3]:
        folder.chmod(0o755)
    identity = started(image, environ=environ, options=options)
    url = "http://" + address(identity, "http")
    until = time.monotonic() + 20
    while (health := httpx.get(f"{url}/health")).json()["health"] == "loading" and time.monotonic() < until:
        time.sleep(0.05)
    assert health.status_code == 503
    assert "9 of 304 rows differ" in health.text
    run("podman", "rm", "--force", "--time=5", identity)


def test_both_patterns_are_in_the_inventory(yard, iris):
    shared = Path(yard.environ["LADING_REGISTRY"])
    for path in (shared, *shared.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    environ = {"LADING_REGISTRY": str(shared), "LADING_STORE": yard.environ["LADING_STORE"]}
    identity = started(iris["image"], environ=environ, options=(f"--volume={shared}:{shared}",))
    wait_ready("http://" + address(identity, "http"))
    with serving("iris:1", environ=yard.environ) as twin, yard.open() as registry:
        wait_ready(twin.url)
        until = time.monotonic() + 20
        found: dict[str, str | None] = {}
        while len(found) < 2 and time.monotonic() < until:
            here = [one for one in registry.replicas() if not one.gone and one.models]
            found = {one.pattern: one.models[0].digest for one in here}
            time.sleep(0.1)
    assert found == dict.fromkeys(("in-image", "load"), iris["bundles"][0]["digest"])
    run("podman", "rm", "--force", "--time=5", identity)


def test_prune_removes_images_that_nobody_needs_and_no_bundle(yard):
    for seed in (11, 12, 13):
        ref = yard.push(seed, "pruned")
        yard.build(ref, f"pruned:{ref.partition(':')[2]}")
    with yard.open() as registry:
        registry.release("pruned", 2, Plan(mode="live"), actor="tests")
    place = f"{yard.address}/pruned"
    with serving("pruned:1", environ=yard.environ) as server, yard.open() as registry:
        # In the inventory, so that its image is needed to start it again.
        server.wait_until(lambda: any(one.models for one in registry.replicas() if not one.gone))
        used = json.loads(yard.lading("image", "prune", place, "--keep", "1", "--json"))
        assert used["removed"] == []
        assert any("replica" in why for one in used["kept"] for why in one["kept_by"])
        server.stop()
    dry = json.loads(yard.lading("image", "prune", place, "--keep", "1", "--dry-run", "--json"))
    assert [one["tags"] for one in dry["removed"]] == [["1"]]
    with opened(place) as there:
        assert len(there.tags()) == 3
    done = json.loads(yard.lading("image", "prune", place, "--keep", "1", "--json"))
    assert done == dry
    left = json.loads(yard.lading("image", "list", place, "--json"))
    assert [one["tags"] for one in left] == [["2"], ["3"]]
    with yard.open() as registry:
        assert registry.fetch("pruned:1").manifest.name == "pruned"


def test_the_runtime_is_built_the_same_way_twice(tmp_path):
    from imaging import ROOT, root_filesystem

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


def test_the_engine_says_what_went_wrong(yard):
    from lading.errors import UsageError

    with pytest.raises(UsageError, match="expected the image"):
        Engine("podman").pull(f"{yard.address}/nothing:1", insecure=True)


def test_no_variable_of_the_host_reaches_the_image(iris):
    assert "LADING_REGISTRY" not in os.environ
    run("podman", "pull", "--quiet", iris["image"])
    env = json.loads(run("podman", "inspect", "--format", "{{json .Config.Env}}", iris["image"]))
    assert {one.partition("=")[0] for one in env} == {
        "LADING_HOST", "LADING_IMAGE", "ORT_DISABLE_TELEMETRY",
        "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH",
    }  # fmt: skip
