"""Deployments as pods of podman: what podman 4.3 does not support is changed, each with its reason."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import yaml

from support.images import run
from support.ports import free_port
from support.waiting import wait_until


class Replica:
    """One pod of the Deployment of a model, on a port of its own."""

    def __init__(self, folder: Path, model: str, number: int) -> None:
        self.folder, self.model, self.number, self.port = folder, model, number, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.file: Path | None = None
        self.grace_s = 0

    @property
    def name(self) -> str:
        """The name of its Deployment."""
        return f"{self.model}-{self.number}"

    @property
    def pod(self) -> str:
        """The name that podman gives to the pod."""
        return f"{self.name}-pod-0"

    def play(self, manifest: Any) -> None:
        self.file = (
            self.folder / f"{manifest['metadata']['annotations']['com.lading.version']}-{self.number}.yaml"
        )
        self.file.write_text(yaml.safe_dump(for_podman(manifest, self.name, self.number, self.port)))
        self.grace_s = manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        run("podman", "play", "kube", "--quiet", str(self.file))
        wait_until(self.is_ready, 30, lambda: run("podman", "ps", "--all"))

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/models/{self.model}/health").status_code == 200
        except httpx.TransportError:
            return False

    def remove(self) -> None:
        """Remove what a failed test left behind, so that the names of the next one's pods are free."""
        subprocess.run(["podman", "pod", "rm", "--force", self.pod], capture_output=True, check=False)

    def down(self) -> None:
        # podman's `--down` alone kills immediately; Kubernetes gives a pod its grace period.
        run("podman", "pod", "stop", f"--time={self.grace_s}", self.pod)
        run("podman", "play", "kube", "--down", str(self.file))


def for_podman(manifest: Any, name: str, number: int, port: int) -> Any:
    """Change what podman 4.3 does not support: two pods on one port, probes without curl in the image."""
    made = json.loads(json.dumps(manifest))
    made["metadata"]["name"] = name
    spec = made["spec"]["template"]["spec"]
    spec["hostNetwork"] = True
    # With `Always`, podman restarts an init container that has succeeded again and again.
    spec["restartPolicy"] = "OnFailure"
    (server,) = spec["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        del server[probe]
    settings = {
        "LADING_HOST": "127.0.0.1",
        "LADING_PORT": str(port),
        "LADING_GRPC_PORT": "0",
        "LADING_DRAIN_DELAY_S": "1",
    }
    for variable in server["env"]:
        variable["value"] = settings.get(variable["name"], variable["value"])
    del server["ports"]
    # podman 4.3 creates one volume for all emptyDirs of the same name, even of different pods.
    mounts = [mount for container in containers_of(spec) for mount in container["volumeMounts"]]
    for volume in (*spec["volumes"], *mounts):
        volume["name"] += f"-{number}"
    return made


def containers_of(spec: Any) -> list[Any]:
    """Return all containers of a pod."""
    return [*spec.get("initContainers", ()), *spec["containers"]]
