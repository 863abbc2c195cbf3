"""The repository's Dockerfile, built by buildah on a base of this machine, with wheels from a folder."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import httpx
import pytest

from support.bundles import linear_bundle
from support.image_environment import ROWS, address, start_container, wait_ready
from support.images import ROOT, ROOTFS, build_lock, cache_folder, run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("containers")]


def base_with_pip() -> str:
    """Build the image that stands in for docker.io's Python, with pip and a shell; return its name."""
    folder = cache_folder() / "python-with-pip"
    rootfs = folder / "rootfs.tar"
    if not rootfs.exists():
        folder.mkdir(exist_ok=True)
        made = rootfs.with_suffix(".making.tar")
        packages = ",".join([*ROOTFS, "python3-pip", "dash", "coreutils"])
        command = ["mmdebstrap", "--quiet", "--variant=extract", f"--include={packages}"]
        run(*command, "bookworm", str(made), environ={"SOURCE_DATE_EPOCH": "0"})
        made.replace(rootfs)
    (folder / "Dockerfile").write_text("FROM scratch\nADD rootfs.tar /\n")
    run("buildah", "bud", "--quiet", "--tag", "localhost/python:3.11", str(folder))
    return "localhost/python:3.11"


def wheels() -> Path:
    """Fetch the wheels that the image and the build of lading need, as a site with a mirror has them."""
    pins = ROOT / "requirements" / "image.txt"
    folder = cache_folder() / f"wheels-{hashlib.sha256(pins.read_bytes()).hexdigest()[:16]}"
    if not folder.exists():
        made = folder.with_suffix(".making")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--python-version", "3.11"]
        run(*pip, "--only-binary", ":all:", "--dest", str(made), "-r", str(pins), "setuptools>=77")
        made.rename(folder)
    return folder


@pytest.fixture(scope="module")
def dockerfile_runtime(podman) -> str:
    image = "localhost/by-file:1"
    with build_lock():
        base, folder = base_with_pip(), wheels()
    build = ["buildah", "bud", "--quiet", "--network=none", "--layers=false", "--tag", image]
    build_arguments = {
        "BASE": base,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "/wheels",
    }
    arguments = [f"--build-arg={name}={value}" for name, value in build_arguments.items()]
    run(*build, f"--volume={folder}:/wheels:ro", *arguments, str(ROOT))
    return image


def test_the_runtime_of_the_dockerfile_serves_a_bundle(dockerfile_runtime, tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    # The user in the container is another one, and must be able to read the files.
    for path in (*bundle.path.iterdir(), *tmp_path.parents[:2], tmp_path, bundle.path):
        path.chmod(0o755 if path.is_dir() else 0o644)
    identity = start_container(
        dockerfile_runtime, options=(f"--volume={bundle.path}:/lading/bundles/iris:ro",)
    )
    url = "http://" + address(identity, "http")
    wait_ready(url)
    assert httpx.get(f"{url}/models/iris").json()["digest"] == bundle.digest
    assert len(httpx.post(f"{url}/predict", json={"data": ROWS}).json()["prediction"]) == 2
    run("podman", "rm", "--force", "--time=5", identity)


def test_the_program_of_the_dockerfile_names_its_python_with_its_version(dockerfile_runtime):
    code = "print(open('/usr/local/bin/lading').readline(), end='')"
    python = ("--entrypoint", "/usr/bin/python3", dockerfile_runtime, "-c", code)
    assert run("podman", "run", "--rm", "--network=host", *python) == "#!/usr/bin/python3.11\n"


def test_the_runtime_of_the_dockerfile_keeps_nothing_of_its_build(dockerfile_runtime):
    (config,) = json.loads(run("podman", "image", "inspect", dockerfile_runtime))
    run_config = config["Config"]
    assert (run_config["User"], run_config["Entrypoint"], run_config["Cmd"]) == (
        "65532:65532",
        ["lading"],
        ["serve"],
    )
    assert not [variable for variable in run_config["Env"] if variable.startswith("PIP_")]
    assert "/wheels" not in json.dumps(config["History"])
