"""podman, and a registry that it talks to, set up by files of their own: nothing of this machine's is used.

Some virtual machines lack CAP_SYS_RESOURCE: the limits below are those that a container may have there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.images import run, runtime_base
from support.store_servers import Server

TOOLS = ("podman", "skopeo", "umoci", "buildah", "runc", "mmdebstrap", "docker-registry")


RUNROOT_LENGTH = 50
"""podman's own limit, which it holds its clean-up after a container to and nothing else: with a longer one it
works, but each wait for a container's end takes 20 s more, until podman no longer hopes for the exit code."""


def container_environ(folder: Path, registry: str, runroot: Path) -> dict[str, str]:
    """Write the three files of configuration and return the variables that name them."""
    assert len(str(runroot)) <= RUNROOT_LENGTH, f"{runroot}: set TMPDIR to a shorter folder"
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "CONTAINERS_CONF": '[containers]\ndefault_ulimits = ["nofile=20000:20000","nproc=32768:32768"]\n'
        '[engine]\nruntime = "runc"\n',
        "CONTAINERS_STORAGE_CONF": f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\n'
        f'runroot = "{runroot}"\n',
        "CONTAINERS_REGISTRIES_CONF": "unqualified-search-registries = []\n"
        f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n',
    }
    environ = {}
    for name, text in texts.items():
        path = folder / f"{name.lower()}.conf"
        path.write_text(text)
        environ[name] = str(path)
    return environ


@contextlib.contextmanager
def containers(folder: Path, registry: str) -> Iterator[None]:
    """Have podman, buildah and skopeo work in `folder` until the block ends, then remove all of it."""
    with storage(folder, registry) as environ, pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        yield


@contextlib.contextmanager
def storage(folder: Path, registry: str) -> Iterator[dict[str, str]]:
    """Return the variables that have podman and its like work in `folder`; remove all of it in the end."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    assert not missing, f"missing: {missing}: `make services` installs them"
    runroot = Path(tempfile.mkdtemp(prefix="lading-run-"))
    environ = container_environ(folder, registry, runroot)
    try:
        yield environ
    finally:
        whole = {**os.environ, **environ}
        # Images are files and need no command; a container may have an overlay mounted, and still run.
        remove = ["podman", "rm", "--all", "--force", "--time", "0"]
        subprocess.run(remove, capture_output=True, check=False, env=whole)
        # Mounts of overlays would keep the folder from being removed.
        run("podman", "unshare", "true", environ=environ) if os.getuid() else None
        for path in (folder, runroot):
            shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def container_storage(
    oci_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Return one storage of containers for all tests: the layers of the runtime are fetched into it once."""
    with storage(tmp_path_factory.mktemp("containers") / "storage", oci_server.address) as environ:
        yield environ


@pytest.fixture(scope="session")
def runtime(oci_server: Server) -> str:
    """Put the runtime of this lading into the registry; return its name there."""
    name = f"{oci_server.address}/runtime:1"
    run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", runtime_base(), f"docker://{name}")
    return name


@pytest.fixture(scope="module")
def podman(container_storage: dict[str, str]) -> Iterator[None]:
    """Have podman, buildah and skopeo work in the common storage for the tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in container_storage.items():
            patch.setenv(name, value)
        yield
