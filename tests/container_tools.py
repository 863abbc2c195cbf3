"""podman, and a registry that it talks to, set up by files of their own: nothing of this machine's is used.

Some virtual machines lack CAP_SYS_RESOURCE: the limits below are those that a container may have there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imaging import run

TOOLS = ("podman", "skopeo", "umoci", "buildah", "runc", "mmdebstrap", "docker-registry")


def container_environ(folder: Path, registry: str) -> dict[str, str]:
    """Write the three files of configuration and give the variables that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "CONTAINERS_CONF": '[containers]\ndefault_ulimits = ["nofile=20000:20000","nproc=32768:32768"]\n'
        '[engine]\nruntime = "runc"\n',
        "CONTAINERS_STORAGE_CONF": f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\n'
        f'runroot = "{folder}/run"\n',
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
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    assert not missing, f"missing: {missing}: `make services` installs them"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in container_environ(folder, registry).items():
            patch.setenv(name, value)
        try:
            yield
        finally:
            subprocess.run(["podman", "rm", "--all", "--force"], capture_output=True, check=False)
            subprocess.run(["podman", "rmi", "--all", "--force"], capture_output=True, check=False)
            # Mounts of overlays would keep the folder from being removed.
            run("podman", "unshare", "true") if os.getuid() else None
            shutil.rmtree(folder, ignore_errors=True)
