"""Applies manifests (JSON on stdin) to kmock, a stateful API server, and says what came of each wish.

Runs in the environment `kubernetes` with lading's source on the path, and none of its dependencies.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import kmock
import yaml

from lading.deploy.cluster import KubernetesCluster, apply_all
from lading.errors import InvalidSetting, RemoteError, ServerUnavailable


class Emulator(kmock.KubernetesEmulator):
    """With server-side apply, which kmock 0.8 lacks: an object that is not there is made by the patch."""

    async def _handle(self, request: kmock.Request) -> object:
        applies = header(request, "content-type") == "application/apply-patch+yaml"
        key = (request.resource, request.namespace, request.name)
        if applies and request.name and key not in self._objects:
            self._objects[key] = request.data
        return await super()._handle(request)


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


async def main() -> None:
    given = json.load(sys.stdin)
    manifests = given["manifests"]
    route = manifests[-1]
    async with Emulator() as emulator, kmock.Server(emulator) as server:
        # kmock takes the path of a namespace itself for that of everything in it.
        emulator["/api/v1/namespaces/models"] << {"kind": "Namespace"}
        kubeconfig(str(server.url).rstrip("/"))
        cluster = await asyncio.to_thread(KubernetesCluster)
        applied = await asyncio.to_thread(apply_all, cluster, manifests)
        await asyncio.to_thread(apply_all, cluster, manifests)
        await asyncio.to_thread(cluster.patch, route, given["patch"])
        kept = {key[2] + "/" + key[0].plural: one.last.raw for key, one in emulator._objects.items()}
        sent = [(str(one.method), header(one, "authorization"), dict(one.params)) for one in emulator]
        missing = {"kind": "HTTPRoute", "metadata": {"name": "none", "namespace": "models"}}
        refused = await asyncio.to_thread(outcome, lambda: cluster.patch(missing, given["patch"]))
    away = await asyncio.to_thread(outcome, lambda: cluster.apply(manifests[0]))
    no_context = outcome(lambda: KubernetesCluster("other"))
    print(
        json.dumps(
            {
                "applied": applied,
                "kept": kept,
                "sent": sent,
                "refused": refused,
                "away": away,
                "no_context": no_context,
            }
        )
    )


asyncio.run(main())
