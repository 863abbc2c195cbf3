"""Drives kmock, a stateful API server, by calls or commands (JSON on stdin), and prints the outcome of each.

Runs in the environment `kubernetes` with lading's source on the path, and none of its dependencies; commands
run in lading's own environment, with the official client of this one.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import kmock
import yaml
from aiohttp import web

from lading.deploy.cluster import KubernetesCluster, apply_all
from lading.errors import InvalidSetting, RemoteError, ServerUnavailable


class Emulator(kmock.KubernetesEmulator):
    """With server-side apply, which kmock 0.8 lacks: a patch creates an object that does not exist.

    It knows who manages each field, by Kubernetes' rules (its page "Server-Side Apply"): a manager is a name
    and an operation; who changes a field takes it, and an Apply that would change what another has is refused
    unless forced. Lists are one field, as in a custom resource. Applying less removes nothing.
    """

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.managed: dict[Any, dict[tuple[str, str], set[str]]] = defaultdict(lambda: defaultdict(set))

    async def _handle(self, request: kmock.Request) -> object:
        key = (request.resource, request.namespace, request.name)
        applies = header(request, "content-type") == "application/apply-patch+yaml"
        if request.name and applies and key not in self._objects:
            self._objects[key] = request.data
            self.managed[key][request.params["fieldManager"], "Apply"] = {
                path for path, _ in fields(request.data)
            }
        elif key in self._objects and (taken := self._take(request, key, applies=applies)):
            return conflict(taken)
        return await super()._handle(request)

    def _take(self, request: kmock.Request, key: Any, *, applies: bool) -> set[str]:
        """Assign the fields to their new manager; return those for which that is refused."""
        before, wished = dict(fields(self._objects[key].last.raw)), dict(fields(request.data))
        changed = {path for path, value in wished.items() if path not in before or before[path] != value}
        manager = (request.params["fieldManager"], "Apply" if applies else "Update")
        others = [held for who, held in self.managed[key].items() if who != manager]
        if applies and request.params.get("force") != "true" and (taken := changed & set().union(*others)):
            return taken
        for held in others:
            held.difference_update(changed)
        self.managed[key][manager] |= {*wished} if applies else changed
        return set()


def fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Return each field that has a manager of its own."""
    if not isinstance(value, dict):
        yield path, value
        return
    for key, item in value.items():
        yield from fields(item, f"{path}.{key}")


def conflict(paths: set[str]) -> web.Response:
    message = f"Apply failed with {len(paths)} conflicts: {', '.join(sorted(paths))}"
    return web.json_response({"kind": "Status", "code": 409, "message": message}, status=409)


def header(request: kmock.Request, name: str) -> str | None:
    return {key.lower(): value for key, value in request.headers.items()}.get(name)


def kubeconfig(url: str) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": {"token": "let-me-in"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    path = Path(tempfile.mkdtemp()) / "config"
    path.write_text(yaml.safe_dump(config))
    os.environ["KUBECONFIG"] = str(path)


def outcome(act: Callable[[], object]) -> str:
    try:
        act()
    except (InvalidSetting, RemoteError, ServerUnavailable) as error:
        return f"{type(error).__name__}: {error.message}"
    return "done"


@asynccontextmanager
async def api_server() -> AsyncIterator[Emulator]:
    async with Emulator() as emulator, kmock.Server(emulator) as server:
        # kmock takes the path of a namespace itself for that of everything in it.
        emulator["/api/v1/namespaces/models"] << {"kind": "Namespace"}
        kubeconfig(str(server.url).rstrip("/"))
        yield emulator


def kept(emulator: Emulator) -> dict[str, Any]:
    return {key[2] + "/" + key[0].plural: entry.last.raw for key, entry in emulator._objects.items()}


async def by_calls(manifests: list[Any], patch: dict[str, Any]) -> dict[str, Any]:
    async with api_server() as emulator:
        cluster = await asyncio.to_thread(KubernetesCluster)
        applied = await asyncio.to_thread(apply_all, cluster, manifests)
        await asyncio.to_thread(apply_all, cluster, manifests)
        await asyncio.to_thread(cluster.patch, manifests[-1], patch)
        objects = kept(emulator)
        sent = [
            (str(request.method), header(request, "authorization"), dict(request.params))
            for request in emulator
        ]
        missing = {"kind": "HTTPRoute", "metadata": {"name": "none", "namespace": "models"}}
        refused = await asyncio.to_thread(outcome, lambda: cluster.patch(missing, patch))
    return {
        "applied": applied,
        "kept": objects,
        "sent": sent,
        "refused": refused,
        "away": await asyncio.to_thread(outcome, lambda: cluster.apply(manifests[0])),
        "no_context": outcome(lambda: KubernetesCluster("other")),
    }


async def by_commands(commands: list[list[str]]) -> list[dict[str, Any]]:
    """Run each, also after one that failed."""
    outcomes = []
    async with api_server() as emulator:
        environ = {**os.environ, "PYTHONPATH": sysconfig.get_paths()["purelib"]}
        for command in commands:
            done = await asyncio.to_thread(
                subprocess.run, command, env=environ, capture_output=True, text=True, check=False
            )
            result = {"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
            outcomes.append({**result, "kept": kept(emulator)})
    return outcomes


request = json.load(sys.stdin)
act = by_commands if "commands" in request else by_calls
print(json.dumps(asyncio.run(act(**request))))
