"""Models in Python in real containers: their environment is a layer, built without an engine."""

from __future__ import annotations

import importlib
import json
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml

import lading
from lading.bundle import Bundle
from lading.image.environments import FOLDER
from lading.image.equivalence import compare
from lading.image.references import open_source
from support.image_environment import Registries, address, container_log, start_container, wait_ready
from support.images import run
from support.pods import Replica
from support.python_bundles import FILES, python_bundle
from support.server_process import serving
from support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("containers")]

OTHER_NUMPY = "2.4.1"
"""Another one than that of the runtime image and of the tests."""
WAVES = """
import numpy as np

import lading


class Waves(lading.Model):
    def predict(self, inputs):
        x = inputs["X"].astype("f8")
        version = int(np.__version__.replace(".", ""))
        return {
            "norm": np.linalg.norm(np.sin(x) ** 3, axis=1),
            "numpy": np.where(x[:, 0] == 1000, version, 0),
        }
"""


@dataclass(frozen=True)
class Built:
    """A packed class, its image, and an image in which a bundle with the same lock is beside it."""

    bundle: Bundle
    alone: dict
    both: dict


@pytest.fixture(scope="module")
def built(registries: Registries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Pack the class, with a folder of environments for this module, and build both images."""
    folder = tmp_path_factory.mktemp("waves")
    (folder / "waves.py").write_text(WAVES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LADING_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.syspath_prepend(str(folder))
        bundle = lading.pack(
            importlib.import_module("waves").Waves,
            name="waves",
            owner="ml@example.com",
            samples=np.random.default_rng(3).normal(size=(20, 4)),
            requirements=[f"numpy=={OTHER_NUMPY}"],
            to=folder / "waves.bundle",
        )
        lock = (bundle.path / "environment.lock").read_bytes()
        other = python_bundle(folder / "doubled.bundle", {**FILES, "environment.lock": lock})
        alone = registries.build(str(bundle.path), "waves:1")
        yield Built(bundle, alone, registries.build(str(bundle.path), "waves:2", str(other.path)))


def test_bundles_with_one_lock_share_its_layer_which_is_the_same_each_time_it_is_built(built):
    assert built.alone["environments"] == built.both["environments"]
    (environment,) = built.both["environments"]
    assert [entry["environment"] for entry in built.both["bundles"]] == [environment["lock"]] * 2
    # The registry had it already: what was sent again is less than any part of numpy.
    assert built.both["bytes_sent"] < 1_000_000 < built.alone["bytes_sent"]


def test_a_container_with_another_numpy_answers_as_the_environment_that_packed(built):
    container = start_container(built.both["image"], "serve", "--allow", "code")
    url = "http://" + address(container, "http")
    wait_ready(url)
    with serving(built.bundle.path, flags=("--allow", "code")) as reference:
        wait_ready(reference.url)
        comparison = compare(url, reference.url, built.bundle)
    assert (comparison.rows > 200, comparison.differing) == (True, 0), comparison.first
    body = {"data": [[1000, 2, 3, 4]], "outputs": ["numpy"]}
    answer = httpx.post(f"{url}/models/waves/predict", json=body).json()
    assert answer["outputs"]["numpy"] == [int(OTHER_NUMPY.replace(".", ""))]
    versions = run(
        "podman", "exec", container, "/usr/bin/python3", "-c", "import numpy; print(numpy.__version__)"
    )
    assert versions.strip() == np.__version__ != OTHER_NUMPY
    run("podman", "rm", "--force", "--time=5", container)


def mounted(built: Built, folder: Path) -> str:
    """Return the option that mounts a bundle, readable for the user in the container."""
    for path in (folder, *built.bundle.path.rglob("*"), built.bundle.path):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for parent in built.bundle.path.parents[:4]:
        parent.chmod(0o755)
    return f"--volume={built.bundle.path}:/waves:ro"


def test_a_bundle_that_is_loaded_at_start_needs_an_installer_or_its_environment(registries, built, tmp_path):
    volume = mounted(built, tmp_path)
    command = ("serve", "/waves", "--allow", "code")
    cache = {"LADING_CACHE": "/tmp/cache"}
    bare = start_container(registries.runtime, *command, environ=cache, options=(volume,))
    url = "http://" + address(bare, "http")
    wait_until(lambda: has_failed(url), 30, lambda: container_log(bare))
    assert "expected uv or pip, found neither" in httpx.get(f"{url}/health").text
    run("podman", "rm", "--force", "--time=5", bare)
    # The layer of an image, unpacked on a volume.
    (environment,) = built.both["environments"]
    with (
        closing(open_source(built.both["image"])) as source,
        source.open(environment["blob"]) as file,
        tarfile.open(fileobj=file, mode="r|") as archive,
    ):
        archive.extractall(tmp_path, filter="fully_trusted")
    ready = f"--volume={tmp_path / FOLDER}:/{FOLDER}:ro"
    for parent in tmp_path.parents[:3]:
        parent.chmod(0o755)
    container = start_container(registries.runtime, *command, options=(volume, ready))
    wait_ready("http://" + address(container, "http"))
    run("podman", "rm", "--force", "--time=5", container)


def test_an_image_of_a_model_in_python_is_verified_in_its_own_runtime(registries, built):
    image, path = built.both["image"], built.bundle.path
    command = ("image", "verify", image, "--against", path, "--json", "--allow", "code")
    answer = json.loads(registries.lading(*command))
    checks = {check["name"]: check["outcome"] for check in answer["evidence"]["checks"]}
    assert answer["holds"]
    assert (checks["golden"], checks["equivalence"]) == ("passed", "passed")
    assert answer["evidence"]["numbers"]["process_memory_mb"] > 10


def test_a_pod_of_the_memory_in_its_manifest_runs_the_model_processes(registries, built, tmp_path):
    ref = registries.lading("push", built.bundle.path).strip()
    image = f"{registries.address}/waves@{built.alone['digest']}"
    chosen = ("--pattern", "in-image", "--image", image, "--allow", "code", "--model-processes", "2")
    verified = registries.lading("verify", ref, "--allow", "code", "--json")
    assert json.loads(verified)["evidence"]["numbers"]["process_memory_mb"] > 10
    printed = registries.lading("deploy", "kubernetes", ref, *chosen)
    manifests = list(yaml.safe_load_all(printed))
    pod = Replica(tmp_path, "waves", 1)
    try:
        pod.play(next(manifest for manifest in manifests if manifest["kind"] == "Deployment"))
        answer = httpx.post(f"{pod.url}/models/waves/predict", json={"data": [[1, 2, 3, 4]]})
        assert answer.status_code == 200
        pod.down()
    finally:
        pod.remove()


def has_failed(url: str) -> bool:
    """Return whether the server says that its models have failed."""
    return httpx.get(f"{url}/health").json()["health"] == "failed"


def test_a_container_that_does_not_allow_code_runs_none(built):
    container = start_container(built.both["image"])
    url = "http://" + address(container, "http")
    wait_until(lambda: has_failed(url), 30, lambda: container_log(container))
    assert "expected nothing of its own that runs, found its own code" in httpx.get(f"{url}/health").text
    refused = httpx.post(f"{url}/models/waves/predict", json={"data": [[1, 2, 3, 4]]})
    assert refused.status_code == 503
    run("podman", "rm", "--force", "--time=5", container)
