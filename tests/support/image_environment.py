"""Where images are tried: a registry with the runtime in it, models beside it, and podman to run them."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from lading.image.references import open_repository
from lading.registry import Registry
from support.bundles import linear_bundle
from support.images import lading, run
from support.store_servers import Server
from support.waiting import wait_until


@contextlib.contextmanager
def opened(place: str):
    """Open a repository and close its connections in the end."""
    there = open_repository(place)
    yield there
    there.close()


def manifest_of(place: str, reference: str) -> dict:
    with opened(place) as there:
        return json.loads(there.manifest(reference).data)


ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
HARDENED = ("--network=host", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges")


@dataclass(frozen=True)
class Registries:
    """A registry of containers with the runtime in it, and one of models whose store is in there too."""

    address: str
    folder: Path
    environ: dict[str, str]
    runtime: str

    def lading(self, *arguments: object, code: int = 0) -> str:
        return lading(*arguments, environ=self.environ, code=code)

    def build(self, ref: str, to: str, *more: str) -> dict:
        image = f"{self.address}/{to}"
        return json.loads(
            self.lading("image", "build", ref, *more, "--base", self.runtime, "--to", image, "--json")
        )

    def open(self) -> Registry:
        return Registry.open(self.environ["LADING_REGISTRY"], store=self.environ["LADING_STORE"])

    def push(self, seed: int, name: str = "iris", **more) -> str:
        """Pack another model and push it; return its reference."""
        path = self.folder / f"{name}-{seed}.bundle"
        if not path.exists():
            linear_bundle(path, name, seed=seed, **more)
        return self.lading("push", path).strip()


@pytest.fixture(scope="module")
def registries(
    oci_server: Server, runtime: str, podman: None, tmp_path_factory: pytest.TempPathFactory
) -> Registries:
    folder = tmp_path_factory.mktemp("registries")
    address = oci_server.address
    environ = {
        "LADING_REGISTRY": str(folder / "registry"),
        "LADING_STORE": f"oci://{address}/registries/models",
    }
    return Registries(address, folder, environ, runtime)


@pytest.fixture(scope="module")
def iris(registries: Registries) -> dict:
    """Build the image of iris version 1."""
    registries.push(1)
    return {**registries.build("iris:1", "iris:1"), "ref": "iris:1"}


def start_container(
    image: str, *arguments: str, environ: dict[str, str] | None = None, options: tuple[str, ...] = ()
):
    settings = {"LADING_PORT": "0", "LADING_GRPC_PORT": "0", "LADING_HOST": "127.0.0.1", **(environ or {})}
    variables = [f"--env={name}={value}" for name, value in settings.items()]
    return run("podman", "run", "--detach", *HARDENED, *variables, *options, image, *arguments).strip()


def container_log(identity: str) -> str:
    done = subprocess.run(["podman", "logs", identity], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def address(identity: str, scheme: str) -> str:
    listening = re.compile(rf"listening on {scheme}://(\S+)")
    return wait_until(lambda: listening.search(container_log(identity)), 30, lambda: container_log(identity))[
        1
    ]


def wait_ready(url: str) -> None:
    wait_until(lambda: httpx.get(f"{url}/health").status_code == 200, 30, f"{url}/health answers 200")
