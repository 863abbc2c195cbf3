"""Manifests checked by others: the schemas of Kubernetes, the Gateway API and KEDA, kustomize, an API server.

`make test` creates the environments; by hand, use ``scripts/clients kubernetes gateway_api keda``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lading.deploy import Options, Scaling, workload
from lading.deploy.batch import BatchJob, batch_manifests
from lading.deploy.canary import http_route, weight_patch
from lading.deploy.kubernetes import manifests
from lading.deploy.kustomize import write_kustomize
from lading.deploy.scaling import autoscaler
from lading.deploy.yamltext import documents, plain
from lading.registry import Registry
from lading.release import HeaderRule, Plan
from support.bundles import linear_bundle
from support.recorded_evidence import push_proved
from support.workloads import IMAGE, canary, python_work, release, version, work

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".venv-clients"
KUBERNETES = ENVIRONMENTS / "kubernetes" / "bin"
SIDES = ("live", "candidate")
OLDEST, NEWEST = "1.30", "1.37"  # `preStop.sleep` is on by default since 1.30

KEDA = Scaling(by="keda", prometheus="http://prometheus.monitoring.svc:9090")
WAKING = Scaling(by="keda", prometheus=KEDA.prometheus, min_pods=0, wake_query="vector(1)")
ONCE = BatchJob(inputs=("/data/in",), output="/data/scored", claim="rows")
NIGHTLY = BatchJob(inputs=("s3://lake/in",), output="s3://lake/scored", schedule="0 3 * * *")

pytestmark = pytest.mark.slow


def run(*command: object, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(argument) for argument in command],
        input=stdin,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def every_variant() -> dict[str, list[Any]]:
    bare = workload(version(name="a.b_c"), Options(pattern="load", image=IMAGE, pull_secret="login"), [])
    return {
        "in-image": manifests(work("in-image")),
        "in-image-listed": manifests(work("in-image", secret="registry")),
        "load": manifests(work("load")),
        "load-login": manifests(bare),
        "python-in-image": manifests(python_work("in-image", model_processes=2)),
        "python-load": manifests(python_work("load", wheels_claim="wheels", process_memory_mb=600)),
        "own-metrics": manifests(work(scaling=Scaling(by="hpa"))),
        "keda": manifests(work(scaling=KEDA)),
        "batch": batch_manifests(work("in-image"), ONCE),
        "batch-nightly": batch_manifests(work("load", pull_secret="login"), NIGHTLY),
        "batch-python": batch_manifests(python_work("load", wheels_claim="wheels"), ONCE),
        "canary-in-image": canary("in-image"),
        "canary-load": canary(),
    }


@pytest.mark.parametrize("kubernetes", [OLDEST, NEWEST])
def test_every_manifest_passes_the_strict_schemas_of_kubernetes(tmp_path, kubernetes):
    for name, variant in every_variant().items():
        (tmp_path / f"{name}.yaml").write_text(documents(variant))
    files = sorted(tmp_path.glob("*.yaml"))
    done = run(KUBERNETES / "kubernetes-validate", "--strict", "-k", kubernetes, *files)
    assert done.returncode == 0, done.stdout + done.stderr
    output = done.stdout + done.stderr
    # Its only warning is about kinds that are not part of Kubernetes itself.
    assert set(re.findall(r"find schema for kind (\w+)", output)) == {"HTTPRoute", "ScaledObject"}
    assert output.count("passed for resource") == sum(map(len, every_variant().values())) - 3


def test_the_strict_schemas_refuse_an_invalid_manifest(tmp_path):
    (tmp_path / "wrong.yaml").write_text(documents(manifests(work())).replace("minReplicas", "leastReplicas"))
    done = run(KUBERNETES / "kubernetes-validate", "--strict", tmp_path / "wrong.yaml")
    assert done.returncode != 0


def validate_routes(routes: list[Any]) -> subprocess.CompletedProcess[str]:
    script = ROOT / "tests" / "clients" / "check_routes.cjs"
    return run("node", script, ENVIRONMENTS / "gateway_api", stdin=json.dumps(routes))


def test_every_route_passes_the_schema_of_the_gateway_api():
    routes = [plain(canary(mode=mode)[-1]) for mode in ("canary", "shadow", "ab")]
    # The most header rules that a route may have.
    most = tuple(HeaderRule("x-user", str(number), "candidate") for number in range(15))
    routes.append(plain(http_route(release(rules=most), work().options, "gateway")))
    done = validate_routes(routes)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_the_schema_of_the_gateway_api_refuses_an_invalid_route():
    route = plain(canary()[-1])
    route["spec"]["rules"][0]["backendRefs"][0]["weight"] = "most"
    done = validate_routes([route])
    assert done.returncode == 1
    assert "weight must be integer" in done.stdout


def validate_scalers(scalers: list[Any]) -> subprocess.CompletedProcess[str]:
    script = ROOT / "tests" / "clients" / "check_scalers.mjs"
    return run("node", script, ENVIRONMENTS / "keda", stdin=json.dumps(scalers))


def test_every_scaler_passes_the_schema_of_keda():
    scalers = [
        plain(autoscaler(work(scaling=scaling, side=side))) for scaling in (KEDA, WAKING) for side in SIDES
    ]
    done = validate_scalers(scalers)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_the_schema_of_keda_refuses_an_invalid_scaler():
    scaler = plain(autoscaler(work(scaling=KEDA)))
    scaler["spec"]["fallback"]["behavior"] = "hope"
    done = validate_scalers([scaler])
    assert done.returncode == 1
    assert "fallback/behavior must be equal to one of the allowed values" in done.stdout


# `make services` cannot install it: kubectl 1.20 of Debian 12 comes with kustomize 2, in which `patches` has
# another meaning.
@pytest.mark.skipif(
    shutil.which("kubectl") is None,
    reason="no kubectl here to render the folder with: install 1.21 or newer from kubernetes.io",
)
@pytest.mark.parametrize(
    ("overlay", "namespace", "least"), [("staging", "models-staging", 1), ("production", "models", 3)]
)
def test_kustomize_renders_the_folder(tmp_path, overlay, namespace, least):
    write_kustomize(tmp_path, canary(), "models")
    done = run("kubectl", "kustomize", tmp_path / "overlays" / overlay)
    assert done.returncode == 0, done.stderr
    rendered = list(yaml.safe_load_all(done.stdout))
    assert len(rendered) == len(canary())
    metadata = [manifest["metadata"] for manifest in rendered]
    assert {entry.get("namespace", entry["name"]) for entry in metadata} == {namespace}
    scalers = {
        manifest["metadata"]["name"]: manifest
        for manifest in rendered
        if manifest["kind"] == "HorizontalPodAutoscaler"
    }
    assert scalers["iris"]["spec"]["minReplicas"] == least


def drive_cluster(**request: Any) -> Any:
    """Send calls or commands to a stateful API server (kmock), and return their outcomes."""
    script = ROOT / "tests" / "clients" / "kubernetes_apply.py"
    source = str(ROOT / "src")
    done = run(KUBERNETES / "python", script, stdin=json.dumps(request), PYTHONPATH=source)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def applied() -> dict[str, Any]:
    """Return what the server stores after the official client applied, twice, and patched."""
    moved = weight_patch(release(state="rolled_back"))
    return drive_cluster(manifests=plain(canary()), patch=moved)


def test_applying_creates_every_object_as_in_its_manifest(applied):
    expected = plain(canary())
    assert len(applied["applied"]) == len(expected)
    assert len(applied["kept"]) == len(expected) - 1  # The emulator stores no namespaces.
    deployment = next(manifest for manifest in expected if manifest["kind"] == "Deployment")
    assert applied["kept"]["iris/deployments"]["spec"] == deployment["spec"]


def test_the_patch_moves_the_weights_in_the_cluster(applied):
    (rule,) = applied["kept"]["iris/httproutes"]["spec"]["rules"]
    assert [backend["weight"] for backend in rule["backendRefs"]] == [100, 0]
    assert applied["kept"]["iris/httproutes"]["spec"]["parentRefs"], "the rest of the route is unchanged"


def test_every_call_is_a_patch_by_one_field_manager_with_the_credentials_of_the_kubeconfig(applied):
    calls = {
        (method.removeprefix("method."), login, params["fieldManager"])
        for method, login, params in applied["sent"]
    }
    assert calls == {("PATCH", "Bearer let-me-in", "lading")}


def test_a_refusal_an_unreachable_cluster_and_an_unknown_context_are_reported(applied):
    assert applied["refused"].startswith("RemoteError: HTTPRoute `none` in cluster `http://127.0.0.1:")
    assert "found 404 (" in applied["refused"]
    assert applied["away"].startswith("ServerUnavailable: Namespace `models`")
    assert applied["no_context"].startswith("InvalidSetting: kubeconfig: expected the context `other`")


@pytest.fixture(scope="module")
def stepped(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Return the outcome of each command: apply a release, patch the next step, apply the one after."""
    folder = tmp_path_factory.mktemp("stepped")
    url = str(folder / "registry")
    with Registry.open(url) as opened:
        for seed in (0, 1):
            push_proved(opened, linear_bundle(folder / f"{seed}.bundle", seed=seed))
        opened.releases.begin("iris", 1, Plan(mode="live"), actor="me")
        opened.releases.begin("iris", 2, Plan(mode="canary", steps=(5, 25, 50, 100)), actor="me")
    deploy = ("deploy", "kubernetes", "iris", "--apply", "--json")
    both = (*deploy, "--pattern", "load", "--image", IMAGE, "--canary")
    promote = ("rollout", "promote", "iris", "--release", "2", "--to")
    steps = (both, (*promote, "25"), (*deploy, "--print-patch"), (*promote, "50"), both)
    return drive_cluster(
        commands=[[sys.executable, "-m", "lading", *step, "--registry", url] for step in steps]
    )


def test_a_release_can_be_applied_again_after_its_route_was_patched(stepped):
    assert [step["code"] for step in stepped] == [0] * 5, [step["stderr"] for step in stepped]
    routes = [step["kept"]["iris/httproutes"]["spec"] for step in stepped]
    weights = [[backend["weight"] for backend in route["rules"][0]["backendRefs"]] for route in routes]
    assert weights == [[95, 5], [95, 5], [75, 25], [75, 25], [50, 50]]


def test_json_output_names_an_applied_patch(stepped):
    assert json.loads(stepped[0]["stdout"])["applied"][-1] == "httproute/iris"
    assert json.loads(stepped[2]["stdout"]) == {"patched": ["httproute/iris"]}
