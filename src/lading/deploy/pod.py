"""The pod of a model: its containers with their probes, rights and resources, and its volumes.

The same for a Deployment and for KServe. Decides neither the number of pods nor the traffic.
"""

from __future__ import annotations

import math
from typing import Any

from lading.deploy import Workload
from lading.deploy.secrets import scheme, secret_mounts, secret_variables, secret_volumes
from lading.deploy.yamltext import Noted

HTTP_PORT, GRPC_PORT = 8000, 8001
BUNDLES, CACHE = "/lading/bundles", "/lading/cache"
ENVIRONMENTS, WHEELS = f"{CACHE}/environments", "/lading/wheels"
ENVIRONMENTS_MIB = 8192
"""Room for one environment, and as much again for what its installer keeps of the wheels."""
DOCKER_CONFIG = "/lading/registry-login"
USER = 65532  # As in the image (`lading.image.build.USER`).
SERVER_MB = 448
"""A server without a model takes about 100 MB, the process that reads large bodies 60 MB; of the rest,
`request_memory_mb` is for requests in flight, and for what reading them takes."""
MAX_BODY_MIB = 4
"""`SERVER_MB` holds ten bodies of this size that wait, and one that is read: 17 times it as lists of rows."""

PRE_STOP_S, DRAIN_DELAY_S, DRAIN_TIMEOUT_S, MARGIN_S = 5, 5, 30, 5
GRACE_S = PRE_STOP_S + DRAIN_DELAY_S + 2 * DRAIN_TIMEOUT_S + MARGIN_S
"""REST is drained first and gRPC then, each within the timeout (`lading.server.process.http_server`)."""
START_TIMEOUT_S = 300
BUILD_TIMEOUT_S = 570
"""Where an environment is fetched and built first; less than a rollout waits (`kubernetes.deployment`)."""


def pod_spec(work: Workload) -> dict[str, Any]:
    """Return the pod's specification."""
    options = work.options
    spec: dict[str, Any] = {
        "automountServiceAccountToken": Noted(False, "A model has no business with the cluster's API."),
        "enableServiceLinks": Noted(
            False,
            "With a Service called `lading` in the namespace, Kubernetes would set LADING_PORT=tcp://… "
            "in every pod, and the server would read that as its setting.",
        ),
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": Noted(
            GRACE_S,
            f"preStop {PRE_STOP_S} s + drain delay {DRAIN_DELAY_S} s + draining REST and then gRPC, "
            f"up to {DRAIN_TIMEOUT_S} s each, + {MARGIN_S} s: shorten this only together with one of them.",
        ),
        "topologySpreadConstraints": Noted(
            [_spread(work, "topology.kubernetes.io/zone"), _spread(work, "kubernetes.io/hostname")],
            "Across zones and nodes if there are several; "
            "ScheduleAnyway, so that a small cluster can still start one more pod during a rollout.",
        ),
    }
    if options.pull_secret:
        spec["imagePullSecrets"] = [{"name": options.pull_secret}]
    if options.pattern == "load":
        spec["initContainers"] = [fetch_container(work)]
    spec["containers"] = [server_container(work)]
    spec["volumes"] = [*volumes(work), *secret_volumes(work)]
    return spec


def server_container(work: Workload, name: str = "server") -> dict[str, Any]:
    """Return the container that serves."""
    options = work.options
    container: dict[str, Any] = {
        "name": name,
        "image": image_of(work),
        "args": Noted(
            ["serve"], f"The entry point of the image is `lading`; it serves the bundles in {BUNDLES}."
        ),
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT},
            {"name": "grpc", "containerPort": GRPC_PORT},
        ],
        "env": [*environment(work), *secret_variables(work)],
    }
    if options.secret:
        container["envFrom"] = Noted(
            [{"secretRef": {"name": options.secret, "optional": True}}],
            "For the inventory only: the bundle is in the pod already, "
            "and the server runs without the Secret too.",
        )
    return {
        **container,
        **probes(work),
        "lifecycle": {
            "preStop": Noted(
                {"sleep": {"seconds": PRE_STOP_S}},
                "The server stays ready meanwhile: the pod is being removed from the endpoints, "
                "which takes a moment to reach every node. "
                "Needs no shell in the image (Kubernetes 1.30 or newer).",
            )
        },
        "resources": resources(work),
        "securityContext": container_security(),
        "volumeMounts": [*mounts(work, writable_bundles=False), *secret_mounts(work)],
    }


def fetch_container(work: Workload) -> Any:
    """Return the init container of the pattern `load`."""
    container: dict[str, Any] = {
        "name": "fetch",
        "image": work.options.image,
        "args": Noted(
            ["pull", work.pinned, "--to", f"{BUNDLES}/{work.model}"],
            "By digest, so that a moved tag never changes a running Deployment. "
            "If it runs again, as after a reboot of the node, it finds the bundle and exits.",
        ),
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": "LADING_CACHE", "value": CACHE}],  # noqa: S108
        "envFrom": Noted(
            [{"secretRef": {"name": work.options.secret}}],
            "LADING_REGISTRY, LADING_STORE and their credentials: never in this file.",
        ),
        "resources": resources(work),
        "securityContext": container_security(),
        "volumeMounts": mounts(work, writable_bundles=True),
    }
    if work.options.pull_secret:
        container["env"].append({"name": "DOCKER_CONFIG", "value": DOCKER_CONFIG})
    return Noted(
        container, "Fetches the bundle from the store; its digest is checked before the server starts."
    )


def environment(work: Workload) -> list[Any]:
    """Return the environment variables of the server."""
    return [
        {
            "name": "LADING_HOST",
            "value": Noted("0.0.0.0", "The default is 127.0.0.1, which probes cannot reach."),  # noqa: S104
        },
        {"name": "LADING_PORT", "value": str(HTTP_PORT)},
        {"name": "LADING_GRPC_PORT", "value": str(GRPC_PORT)},
        {
            "name": "LADING_THREADS",
            "value": Noted(
                str(work.options.cpus),
                "There is no CPU limit: without this, "
                "ONNX Runtime would start a thread for each core of the node.",
            ),
        },
        {
            "name": "LADING_DRAIN_DELAY_S",
            "value": Noted(
                str(DRAIN_DELAY_S),
                "After SIGTERM: not ready but serving, for load balancers that poll /health themselves.",
            ),
        },
        {"name": "LADING_DRAIN_TIMEOUT_S", "value": str(DRAIN_TIMEOUT_S)},
        {
            "name": "LADING_MAX_BODY_BYTES",
            "value": Noted(
                str(MAX_BODY_MIB * 2**20),
                "Reading a request takes 10 to 20 times its body: for larger ones, raise the memory as well.",
            ),
        },
        {"name": "LADING_CACHE", "value": CACHE},
        {"name": "HOME", "value": Noted("/tmp", "Only this and the cache are writable.")},  # noqa: S108
        *python_environment(work),
    ]


def python_environment(work: Workload) -> list[Any]:
    """Return the variables of a server whose model runs in Python; none for any other."""
    if not work.runs_in_python:
        return []
    options = work.options
    settings: dict[str, Any] = {
        "LADING_ALLOW": Noted(options.allow, "What of the bundle's own may run in its model processes."),
        "LADING_MODEL_PROCESSES": str(options.model_processes),
    }
    if options.process_memory_mb:
        why = "A process that allocates more is ended; the memory below has room for all of them."
        settings["LADING_PROCESS_MEMORY_MB"] = Noted(str(options.process_memory_mb), why)
    if work.builds_environment:
        why = "What pip or uv keep of the wheels, on the same volume as the environment: it links to them."
        settings["XDG_CACHE_HOME"] = Noted(f"{ENVIRONMENTS}/installer", why)
        if options.wheels_claim:
            settings["LADING_WHEELS"] = WHEELS
    return [{"name": name, "value": value} for name, value in settings.items()]


def probes(work: Workload) -> dict[str, Any]:
    """Return the three probes."""
    # The route of the model: 200 only if this very model is ready.
    health = {"httpGet": {"path": f"/models/{work.model}/health", "port": "http", **scheme(work)}}
    start_s = BUILD_TIMEOUT_S if work.builds_environment else START_TIMEOUT_S
    return {
        "startupProbe": Noted(
            {**health, "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": start_s},
            "Succeeds once the golden samples have given the answers of training, in this pod. "
            "Every second, because a small model is ready within one; "
            f"fails after {start_s} s, so that a rollout does not hang.",
        ),
        "readinessProbe": Noted(
            {**health, "periodSeconds": 5, "timeoutSeconds": 2, "failureThreshold": 2},
            "The same endpoint: not ready means no traffic, never a restart.",
        ),
        "livenessProbe": Noted(
            {
                "httpGet": {"path": "/v2/health/live", "port": "http", **scheme(work)},
                "periodSeconds": 10,
                "timeoutSeconds": 5,
                "failureThreshold": 6,
            },
            "Whether the process responds at all, regardless of the model: "
            "a restart fixes neither a failing model nor an unreachable registry. "
            "A minute of patience, because a busy pod is not a dead one.",
        ),
    }


def resources(work: Workload) -> dict[str, Any]:
    """Return what a container requests; its memory is that of the server and that of the model."""
    # The init container has the same: a pod gets the larger of the two, so that costs nothing.
    memory = f"{memory_mib(work.memory_mb, processes_mb(work))}Mi"
    basis = "measured" if work.is_measured else "estimated from its size: run `lading verify`"
    why = f"{SERVER_MB} MB for the server + 1.25 × {work.memory_mb:.0f} MB for the model ({basis})"
    return {
        "requests": {
            "cpu": str(work.options.cpus),
            "memory": Noted(memory, f"{why}{_processes_text(work)}."),
        },
        "limits": Noted(
            {"memory": memory},
            "As requested: memory cannot be reclaimed. No CPU limit, because throttling adds latency.",
        ),
    }


def memory_mib(model_mb: float, processes_mb: float = 0.0) -> int:
    """Return the memory of a server's container in MiB, rounded up to a multiple of 32."""
    return rounded_mib(SERVER_MB + 1.25 * model_mb + processes_mb)


def rounded_mib(mb: float) -> int:
    """Return MB as MiB, rounded up to a multiple of 32."""
    return 32 * math.ceil(mb * 1e6 / 2**20 / 32)


def processes_mb(work: Workload) -> float:
    """Return the memory of all model processes: what each may allocate at most, else took, and a quarter."""
    if not work.runs_in_python:
        return 0.0
    # A limit is a promise: beyond it the process is ended, so nothing is added to it.
    each = work.options.process_memory_mb or 1.25 * work.process_mb
    return work.options.model_processes * each


def _processes_text(work: Workload) -> str:
    if not work.runs_in_python:
        return ""
    # What a reader needs to compute the number above again.
    limit, count = work.options.process_memory_mb, work.options.model_processes
    each = f"{limit} MB, their limit," if limit else f"1.25 × {work.process_mb:.0f} MB"
    return f" + {count} × {each} for {'its process' if count == 1 else 'its processes'}"


def pod_security() -> dict[str, Any]:
    """Return the security context of the pod, as the `restricted` standard demands."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": Noted(USER, "The volumes below are writable by this group."),
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Any]:
    """Return the security context of a container."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def volumes(work: Workload) -> list[Any]:
    """Return the volumes; all of them are deleted with the pod."""
    # A limit that is exceeded evicts the pod, so each leaves some room.
    mib = work.version.size_bytes / 2**20
    size = f"{64 + math.ceil(2.2 * mib)}Mi"
    shared = "For LADING_WORKERS above 1: the copy of the model through which they share its weights."
    # Wheels are unpacked there where pip builds an environment.
    tmp_mib = 256 + math.ceil(4.2 * mib) + (ENVIRONMENTS_MIB // 2 if work.builds_environment else 0)
    declared: list[Any] = [
        # A float16 model grows to four times its size if the CPU has no kernels for it.
        {"name": "tmp", "emptyDir": {"sizeLimit": Noted(f"{tmp_mib}Mi", shared)}},
        {"name": "cache", "emptyDir": {"sizeLimit": size}},
        *_environment_volumes(work),
    ]
    if work.options.pattern != "load":
        return declared
    why = "Twice the bundle: while it is pulled, there are two copies."
    declared.append({"name": "bundles", "emptyDir": {"sizeLimit": Noted(size, why)}})
    # The same login that pulls images also pulls bundles from a store in that registry.
    if work.options.pull_secret:
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        declared.append(
            {"name": "registry-login", "secret": {"secretName": work.options.pull_secret, "items": items}}
        )
    return declared


def _environment_volumes(work: Workload) -> list[Any]:
    if not work.builds_environment:
        return []
    why = "The environment of the model is built here at the start, from the package index or the wheels."
    declared = [{"name": "environments", "emptyDir": {"sizeLimit": Noted(f"{ENVIRONMENTS_MIB}Mi", why)}}]
    if work.options.wheels_claim:
        claim = {"claimName": work.options.wheels_claim, "readOnly": True}
        declared.append({"name": "wheels", "persistentVolumeClaim": claim})
    return declared


def _environment_mounts(work: Workload) -> list[Any]:
    if not work.builds_environment:
        return []
    mounted: list[Any] = [{"name": "environments", "mountPath": ENVIRONMENTS}]
    if work.options.wheels_claim:
        mounted.append({"name": "wheels", "mountPath": WHEELS, "readOnly": True})
    return mounted


def mounts(work: Workload, *, writable_bundles: bool) -> list[Any]:
    """Return the mounts of a container; only the one that fetches bundles may write them."""
    mounted: list[Any] = [
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        {"name": "cache", "mountPath": CACHE},
        *([] if writable_bundles else _environment_mounts(work)),
    ]
    if work.options.pattern != "load":
        return mounted
    mounted.append({"name": "bundles", "mountPath": BUNDLES, "readOnly": not writable_bundles})
    # Only the container that pulls needs the login.
    if writable_bundles and work.options.pull_secret:
        mounted.append({"name": "registry-login", "mountPath": DOCKER_CONFIG, "readOnly": True})
    return mounted


def metadata(work: Workload) -> dict[str, Any]:
    """Return the metadata of an object of one side."""
    return {
        "name": work.name,
        "namespace": work.options.namespace,
        "labels": {**selector(work), "app.kubernetes.io/managed-by": "lading"},
    }


def selector(work: Workload) -> dict[str, str]:
    """Return the labels that select the pods of one side. They can never change, so there are few."""
    return {"app.kubernetes.io/name": work.model, "app.kubernetes.io/instance": work.name}


def image_of(work: Workload) -> Any:
    """Return the image of a container that runs the model."""
    if work.options.pattern == "in-image":
        return Noted(work.options.image, f"By digest; its last layer is the bundle {work.version.ref}.")
    if "@sha256:" in work.options.image:
        return work.options.image
    return Noted(work.options.image, "A tag may move: prefer a digest, image@sha256:…")


def _spread(work: Workload, key: str) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(work)},
        "matchLabelKeys": ["pod-template-hash"],
    }
