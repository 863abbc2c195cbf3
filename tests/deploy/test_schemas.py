"""Manifests before judges nobody here wrote: schemas of Kubernetes and Gateway API, kustomize, an API server.

`make test` makes the two environments; by hand it is ``scripts/clients kubernetes gateway_api``.
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

from lading.deploy import Options, workload
from lading.deploy.canary import canary_manifests, http_route, weight_patch
from lading.deploy.kubernetes import manifests
from lading.deploy.kustomize import write_kustomize
from lading.deploy.yamltext import documents, plain
from lading.registry import Registry
from lading.release import HeaderRule, Plan
from support.bundles import linear_bundle
from support.workloads import IMAGE, release, version, work

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".venv-clients"
KUBERNETES = ENVIRONMENTS / "kubernetes" / "bin"
OLDEST, NEWEST = "1.30", "1.37"  # `preStop.sleep` is on by default since 1.30

pytestmark = pytest.mark.slow


def run(*command: object, given: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(one) for one in command],
        input=given,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def canary(pattern: str = "load", mode: str = "canary") -> list[Any]:
    beside = work(pattern, number=2, side="candidate")
    return canary_manifests(work(pattern), beside, release(mode), "infra/gateway")


def every_form() -> dict[str, list[Any]]:
    bare = workload(version(name="a.b_c"), Options(pattern="load", image=IMAGE, pull_secret="login"), [])
    return {
        "in-image": manifests(work("in-image")),
        "in-image-listed": manifests(work("in-image", secret="registry")),
        "load": manifests(work("load")),
        "load-login": manifests(bare),
        "canary-in-image": canary("in-image"),
        "canary-load": canary(),
    }


@pytest.mark.parametrize("kubernetes", [OLDEST, NEWEST])
def test_every_manifest_passes_the_strict_schemas_of_kubernetes(tmp_path, kubernetes):
    for name, found in every_form().items():
        (tmp_path / f"{name}.yaml").write_text(documents(found))
    files = sorted(tmp_path.glob("*.yaml"))
    done = run(KUBERNETES / "kubernetes-validate", "--strict", "-k", kubernetes, *files)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout + done.stderr
    # It warns of kinds that are not of Kubernetes itself, and of nothing else.
    assert set(re.findall(r"find schema for kind (\w+)", said)) == {"HTTPRoute"}
    assert said.count("passed for resource") == sum(len(one) for one in every_form().values()) - 2


def test_the_strict_schemas_refuse_what_is_wrong(tmp_path):
    (tmp_path / "wrong.yaml").write_text(documents(manifests(work())).replace("minReplicas", "leastReplicas"))
    done = run(KUBERNETES / "kubernetes-validate", "--strict", tmp_path / "wrong.yaml")
    assert done.returncode != 0


def judge_routes(routes: list[Any]) -> subprocess.CompletedProcess[str]:
    script = ROOT / "tests" / "clients" / "check_routes.cjs"
    return run("node", script, ENVIRONMENTS / "gateway_api", given=json.dumps(routes))


def test_every_route_passes_the_schema_of_the_gateway_api():
    routes = [plain(canary(mode=mode)[-1]) for mode in ("canary", "shadow", "ab")]
    # As many header rules as fit into a route.
    most = tuple(HeaderRule("x-user", str(one), "candidate") for one in range(15))
    routes.append(plain(http_route(release(rules=most), work().options, "gateway")))
    done = judge_routes(routes)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_the_schema_of_the_gateway_api_refuses_what_is_wrong():
    route = plain(canary()[-1])
    route["spec"]["rules"][0]["backendRefs"][0]["weight"] = "most"
    done = judge_routes([route])
    assert done.returncode == 1
    assert "weight must be integer" in done.stdout


# `make services` cannot bring it: kubectl 1.20, which Debian 12 has, comes with kustomize 2, to which
# `patches` means another thing.
@pytest.mark.skipif(
    shutil.which("kubectl") is None,
    reason="no kubectl here, whose kustomize renders the folder: install 1.21 or newer from kubernetes.io",
)
@pytest.mark.parametrize(
    ("overlay", "namespace", "least"), [("staging", "models-staging", 1), ("production", "models", 3)]
)
def test_kustomize_renders_the_folder(tmp_path, overlay, namespace, least):
    write_kustomize(tmp_path, canary(), "models")
    done = run("kubectl", "kustomize", tmp_path / "overlays" / overlay)
    assert done.returncode == 0, done.stderr
    found = list(yaml.safe_load_all(done.stdout))
    assert len(found) == len(canary())
    assert {one["metadata"].get("namespace", one["metadata"]["name"]) for one in found} == {namespace}
    scalers = {one["metadata"]["name"]: one for one in found if one["kind"] == "HorizontalPodAutoscaler"}
    assert scalers["iris"]["spec"]["minReplicas"] == least


def drive_cluster(**given: Any) -> Any:
    """Have a stateful API server (kmock) take calls or commands, and tell what came of them."""
    script = ROOT / "tests" / "clients" / "kubernetes_apply.py"
    source = str(ROOT / "src")
    done = run(KUBERNETES / "python", script, given=json.dumps(given), PYTHONPATH=source)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def applied() -> dict[str, Any]:
    """What is kept after the official client applied, twice, and patched."""
    moved = weight_patch(release(state="rolled_back"))
    return drive_cluster(manifests=plain(canary()), patch=moved)


def test_applying_makes_every_object_as_the_manifest_says(applied):
    wished = plain(canary())
    assert len(applied["applied"]) == len(wished)
    assert len(applied["kept"]) == len(wished) - 1  # the emulator keeps no namespaces
    assert (
        applied["kept"]["iris/deployments"]["spec"]
        == next(one for one in wished if one["kind"] == "Deployment")["spec"]
    )


def test_the_patch_moves_the_weights_in_the_cluster(applied):
    (rule,) = applied["kept"]["iris/httproutes"]["spec"]["rules"]
    assert [one["weight"] for one in rule["backendRefs"]] == [100, 0]
    assert applied["kept"]["iris/httproutes"]["spec"]["parentRefs"], "the rest of the route stays"


def test_every_call_is_a_patch_under_one_name_and_with_the_login_of_the_kubeconfig(applied):
    calls = {
        (method.removeprefix("method."), login, params["fieldManager"])
        for method, login, params in applied["sent"]
    }
    assert calls == {("PATCH", "Bearer let-me-in", "lading")}


def test_a_cluster_that_refuses_or_is_away_and_a_wrong_context_are_sentences(applied):
    assert applied["refused"].startswith("RemoteError: HTTPRoute `none` in cluster `http://127.0.0.1:")
    assert "found 404 (" in applied["refused"]
    assert applied["away"].startswith("ServerUnavailable: Namespace `models`")
    assert applied["no_context"].startswith("InvalidSetting: kubeconfig: expected the context `other`")


@pytest.fixture(scope="module")
def stepped(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What came of each command when a release was applied, patched one step on, and applied another on."""
    folder = tmp_path_factory.mktemp("stepped")
    url = str(folder / "registry")
    with Registry.open(url) as opened:
        for seed in (0, 1):
            opened.push(linear_bundle(folder / f"{seed}.bundle", seed=seed))
        opened.releases.begin("iris", 1, Plan(mode="live"), actor="me")
        opened.releases.begin("iris", 2, Plan(mode="canary", steps=(5, 25, 50, 100)), actor="me")
    deploy = ("deploy", "kubernetes", "iris", "--apply", "--json")
    both = (*deploy, "--pattern", "load", "--image", IMAGE, "--canary")
    promote = ("rollout", "promote", "iris")
    steps = (both, promote, (*deploy, "--print-patch"), promote, both)
    return drive_cluster(
        commands=[[sys.executable, "-m", "lading", *one, "--registry", url] for one in steps]
    )


def test_a_release_is_applied_again_after_lading_patched_its_route(stepped):
    assert [one["code"] for one in stepped] == [0] * 5, [one["stderr"] for one in stepped]
    routes = [one["kept"]["iris/httproutes"]["spec"] for one in stepped]
    weights = [[one["weight"] for one in route["rules"][0]["backendRefs"]] for route in routes]
    assert weights == [[95, 5], [95, 5], [75, 25], [75, 25], [50, 50]]


def test_with_json_an_applied_patch_is_named_in_json(stepped):
    assert json.loads(stepped[0]["stdout"])["applied"][-1] == "httproute/iris"
    assert json.loads(stepped[2]["stdout"]) == {"patched": ["httproute/iris"]}
