"""The pod of a model: rights, probes, settings, memory and secrets."""

from __future__ import annotations

import pytest

from lading.deploy import Options, workload
from lading.deploy.kubernetes import manifests
from lading.deploy.pod import memory_mib
from lading.deploy.yamltext import documents
from lading.settings import environments_folder, serve_settings
from support.workloads import (
    IMAGE,
    by_kind,
    evidence,
    pod_spec_of,
    python_work,
    server_of,
    version,
    work,
)


@pytest.mark.parametrize("pattern", ["in-image", "load"])
def test_every_container_meets_the_restricted_pod_security_standard(pattern):
    spec = pod_spec_of(manifests(work(pattern)))
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 65532
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        # Only the container that fetches the bundle may write it.
        bundles = {"/lading/bundles"} if container["name"] == "fetch" else set()
        assert writable == {"/tmp", "/lading/cache"} | bundles
    assert {next(iter(volume.keys() - {"name"})) for volume in spec["volumes"]} == {"emptyDir"}


def test_image_and_bundle_are_pinned_by_digest_and_never_by_a_tag():
    assert server_of(manifests(work("in-image")))["image"] == IMAGE
    assert "initContainers" not in pod_spec_of(manifests(work("in-image")))
    spec = pod_spec_of(manifests(work("load")))
    (fetch,) = spec["initContainers"]
    assert fetch["args"] == ["pull", f"iris@{version().digest}", "--to", "/lading/bundles/iris"]
    mounts = {mount["mountPath"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    assert mounts["/lading/bundles"]["readOnly"] is True


def test_readiness_probes_check_the_model_and_the_liveness_probe_only_the_process():
    server = server_of(manifests(work()))
    startup, readiness, liveness = (server[f"{name}Probe"] for name in ("startup", "readiness", "liveness"))
    model, process = ({"path": path, "port": "http"} for path in ("/models/iris/health", "/v2/health/live"))
    assert (startup["httpGet"], readiness["httpGet"], liveness["httpGet"]) == (model, model, process)
    assert {"name": "http", "containerPort": 8000} in server["ports"]


def time_to_fail_s(probe: dict) -> int:
    """Return how long a probe has to fail until Kubernetes acts on it."""
    assert "successThreshold" not in probe, "one success is enough"
    assert "initialDelaySeconds" not in probe
    return probe["periodSeconds"] * probe["failureThreshold"]


def test_a_large_model_has_minutes_to_start_and_a_small_one_is_ready_within_a_second():
    startup = server_of(manifests(work()))["startupProbe"]
    assert startup["periodSeconds"] == 1
    deadline_s = by_kind(manifests(work()))["Deployment"]["spec"]["progressDeadlineSeconds"]
    assert 300 <= time_to_fail_s(startup) < deadline_s, "it fails before the rollout is considered stuck"


def test_traffic_stops_long_before_a_pod_is_restarted():
    server = server_of(manifests(work()))
    assert time_to_fail_s(server["readinessProbe"]) <= 10
    assert time_to_fail_s(server["livenessProbe"]) >= 60
    # A busy process may keep a probe waiting.
    assert server["livenessProbe"]["timeoutSeconds"] > server["readinessProbe"]["timeoutSeconds"]


def test_the_grace_period_covers_the_whole_shutdown_of_the_server():
    spec = pod_spec_of(manifests(work()))
    environ = {variable["name"]: variable["value"] for variable in spec["containers"][0]["env"]}
    settings = serve_settings({}, environ)
    sleep_s = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    rest_then_grpc_s = 2 * settings.drain_timeout_s
    assert spec["terminationGracePeriodSeconds"] > sleep_s + settings.drain_delay_s + rest_then_grpc_s


def test_the_variables_of_the_container_are_settings_of_the_server():
    environ = {variable["name"]: variable["value"] for variable in server_of(manifests(work(cpus=2)))["env"]}
    settings = serve_settings({}, environ)
    assert (settings.host, settings.port, settings.grpc_port, settings.threads) == ("0.0.0.0", 8000, 8001, 2)


def test_memory_is_the_measured_memory_of_the_model_plus_that_of_the_server():
    small, large = (memory_mib(model_mb) for model_mb in (1.0, 1000.0))
    assert (small, large) == (448, 1632)
    server = server_of(manifests(work()))
    assert server["resources"]["requests"]["memory"] == f"{memory_mib(40.0)}Mi"
    assert server["resources"]["limits"] == {"memory": f"{memory_mib(40.0)}Mi"}


@pytest.mark.parametrize(
    ("chosen", "memory"),
    [
        ({}, memory_mib(40.0, 250.0)),
        ({"model_processes": 3}, memory_mib(40.0, 750.0)),
        # What a process may allocate, and not what it took.
        ({"model_processes": 3, "process_memory_mb": 600}, memory_mib(40.0, 1800.0)),
    ],
)
def test_memory_has_room_for_every_model_process(chosen, memory):
    server = server_of(manifests(python_work(**chosen)))
    assert server["resources"]["limits"] == {"memory": f"{memory}Mi"}


def test_memory_of_processes_that_nobody_measured_is_estimated():
    options = Options(pattern="in-image", image=IMAGE, model_processes=2)
    unmeasured = workload(version(size_bytes=10_000_000), options, [], runs_in_python=True)
    assert (unmeasured.memory_mb, unmeasured.process_mb) == (30.0, 542.0)
    # Evidence of an older lading has one number for both.
    older = workload(version(), options, [evidence(240.0)], runs_in_python=True)
    assert (older.memory_mb, older.process_mb) == (0.0, 240.0)
    text = " ".join(documents(manifests(unmeasured)).replace("# ", "").split())
    assert "+ 2 × 1.25 × 542 MB for its processes." in text


def test_a_model_in_python_has_its_settings_and_others_have_none_of_them():
    chosen = {"allow": "code", "model_processes": 2, "process_memory_mb": 600, "wheels_claim": "wheels"}
    container = server_of(manifests(python_work(**chosen)))
    environ = {variable["name"]: variable["value"] for variable in container["env"]}
    settings = serve_settings({}, environ)
    assert (settings.allow, settings.model_processes, settings.process_memory_mb) == ("code", 2, 600)
    mounted = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert mounted[settings.wheels] is True
    names = {variable["name"] for variable in server_of(manifests(work()))["env"]}
    assert {"LADING_ALLOW", "LADING_MODEL_PROCESSES", "XDG_CACHE_HOME"}.isdisjoint(names)


def test_an_environment_that_the_pod_builds_has_a_volume_and_time_and_one_in_the_image_needs_neither():
    spec = pod_spec_of(manifests(python_work("load")))
    server, environ = spec["containers"][0], {}
    for variable in server["env"]:
        environ[variable["name"]] = variable["value"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in server["volumeMounts"]}
    folder = str(environments_folder(environ))
    assert "emptyDir" in volumes[mounts[folder]]
    # An installer links to what it keeps, which only works on the same volume.
    assert environ["XDG_CACHE_HOME"].startswith(f"{folder}/")
    deadline_s = by_kind(manifests(python_work("load")))["Deployment"]["spec"]["progressDeadlineSeconds"]
    assert 500 < time_to_fail_s(server["startupProbe"]) < deadline_s
    assert folder not in {mount["mountPath"] for mount in spec["initContainers"][0]["volumeMounts"]}
    ready = server_of(manifests(python_work("in-image")))
    assert {mount["name"] for mount in ready["volumeMounts"]} == {"tmp", "cache"}
    assert ready["startupProbe"] == server_of(manifests(work("in-image")))["startupProbe"]


def test_credentials_come_from_secrets_by_name(monkeypatch):
    monkeypatch.setenv("LADING_REGISTRY", "postgresql://me:hunter2@db/lading")
    pod_manifests = manifests(work("load", pull_secret="login"))
    assert "hunter2" not in documents(pod_manifests)
    spec = pod_spec_of(pod_manifests)
    assert spec["imagePullSecrets"] == [{"name": "login"}]
    assert spec["initContainers"][0]["envFrom"] == [{"secretRef": {"name": "lading-registry"}}]
    names = {mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
    assert "registry-login" not in names, "only the container that pulls needs the login"
