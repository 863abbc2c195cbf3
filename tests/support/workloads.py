"""Versions, releases and workloads that manifests are made of."""

from __future__ import annotations

from typing import Any

from lading.deploy import Options, Workload, workload
from lading.deploy.canary import canary_manifests
from lading.deploy.yamltext import plain
from lading.evidence import Evidence, Fingerprint
from lading.registry import ModelVersion
from lading.release import HeaderRule, Plan, Release, begin, changed

DIGEST = "sha256:" + "d" * 64


IMAGE = f"registry.example.com/iris@{DIGEST}"


def version(number: int = 1, name: str = "iris", size_bytes: int = 1_000_000) -> ModelVersion:
    return ModelVersion(
        name=name,
        version=number,
        digest="sha256:" + f"{number:064x}",
        blob="sha256:" + "b" * 64,
        size_bytes=size_bytes,
        purpose="classification",
        owner="ml@example.com",
        description="",
        pushed_at="2026-01-01T00:00:00Z",
        metrics={},
    )


def evidence(memory_mb: float, **numbers: float) -> Evidence:
    machine = Fingerprint(lading="0", python="3", onnxruntime="1", numpy="2", os="Linux", arch="x86_64")
    numbers = {"memory_mb": memory_mb, **numbers}
    return Evidence(bundle="", name="iris", fingerprint=machine, checks=(), numbers=numbers, measured_at="")


def work(pattern: str = "load", number: int = 1, side: str = "live", **chosen) -> Workload:
    options = Options(pattern=pattern, image=IMAGE, **chosen)
    return workload(version(number), options, [evidence(40.0)], side)


def python_work(pattern: str = "load", **chosen) -> Workload:
    """Return a version whose processes took 200 MB each, and the server 40 MB for it."""
    options = Options(pattern=pattern, image=IMAGE, **chosen)
    measured = [evidence(240.0, process_memory_mb=200.0)]
    return workload(version(), options, measured, runs_in_python=True)


def release(mode: str = "canary", *, state: str = "running", rules: tuple[HeaderRule, ...] = ()) -> Release:
    """Return a release of version 2 beside version 1; a canary gets a tenth of the traffic."""
    plan = Plan(mode=mode, rules=rules, steps=(10, 100) if mode == "canary" else ())
    at = "2026-01-01T00:00:00Z"
    live = begin(None, "iris", 1, Plan(mode="live"), actor="me", at=at, runtime=None)
    now = begin(live, "iris", 2, plan, actor="me", at=at, runtime=None)
    return now if state == "running" else changed(now, {"state": state}, now.created_at)


def by_kind(manifests: list[Any]) -> dict[str, Any]:
    """Return manifests without their comments, by kind."""
    return {manifest["kind"]: manifest for manifest in plain(manifests)}


def pod_spec_of(manifests: list[Any]) -> dict[str, Any]:
    """Return the specification of the pods of a Deployment."""
    return by_kind(manifests)["Deployment"]["spec"]["template"]["spec"]


def server_of(manifests: list[Any]) -> dict[str, Any]:
    """Return the container that serves, in a Deployment."""
    (server,) = pod_spec_of(manifests)["containers"]
    return server


def canary(pattern: str = "load", mode: str = "canary") -> list[Any]:
    """Return the manifests of both sides of a canary, with comments."""
    candidate = work(pattern, number=2, side="candidate")
    return canary_manifests(work(pattern), candidate, release(mode), "infra/gateway")
