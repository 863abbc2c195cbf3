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
    """Make the image that stands for docker.io's Python, with pip and a shell; give its name."""
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
    """Fetch what the image needs, and what builds lading itself, as a site with a mirror has it."""
    pins = ROOT / "requirements" / "image.txt"
    folder = cache_folder() / f"wheels-{hashlib.sha256(pins.read_bytes()).hexdigest()[:16]}"
    if not folder.exists():
        made = folder.with_suffix(".making")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--python-version", "3.11"]
        run(*pip, "--only-binary", ":all:", "--dest", str(made), "-r", str(pins), "setuptools>=77")
        made.rename(folder)
    return folder


@pytest.fixture(scope="module")
def runtime_by_file(podman) -> str:
    image = "localhost/by-file:1"
    with build_lock():
        base, found = base_with_pip(), wheels()
    build = ["buildah", "bud", "--quiet", "--network=none", "--layers=false", "--tag", image]
    given = {
        "BASE": base,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "/wheels",
    }
    arguments = [f"--build-arg={name}={value}" for name, value in given.items()]
    run(*build, f"--volume={found}:/wheels:ro", *arguments, str(ROOT))
    return image


def test_the_runtime_by_the_dockerfile_serves_a_bundle(runtime_by_file, tmp_path):
    bundle = linear_bundle(tmp_path / "iris")
    # Another user reads it in there.
    for path in (*bundle.path.iterdir(), *tmp_path.parents[:2], tmp_path, bundle.path):
        path.chmod(0o755 if path.is_dir() else 0o644)
    identity = start_container(runtime_by_file, options=(f"--volume={bundle.path}:/lading/bundles/iris:ro",))
    url = "http://" + address(identity, "http")
    wait_ready(url)
    assert httpx.get(f"{url}/models/iris").json()["digest"] == bundle.digest
    assert len(httpx.post(f"{url}/predict", json={"data": ROWS}).json()["prediction"]) == 2
    run("podman", "rm", "--force", "--time=5", identity)


def test_the_runtime_by_the_dockerfile_keeps_nothing_of_its_building(runtime_by_file):
    (config,) = json.loads(run("podman", "image", "inspect", runtime_by_file))
    told = config["Config"]
    assert (told["User"], told["Entrypoint"], told["Cmd"]) == ("65532:65532", ["lading"], ["serve"])
    assert not [one for one in told["Env"] if one.startswith("PIP_")]
    assert "/wheels" not in json.dumps(config["History"])
