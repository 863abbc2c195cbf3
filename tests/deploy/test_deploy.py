"""Manifests: what they promise, that they say why, and that they hold together with lading's own settings."""

from __future__ import annotations

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lading.deploy import Options, object_name, workload
from lading.deploy.canary import canary_manifests, http_route, sides, weight_patch
from lading.deploy.kserve import kserve_manifests
from lading.deploy.kubernetes import manifests
from lading.deploy.kustomize import write_kustomize
from lading.deploy.pod import memory_mib
from lading.deploy.yamltext import Noted, document, documents, plain
from lading.errors import InvalidSetting, UsageError
from lading.ref import check_name
from lading.release import HeaderRule
from lading.settings import serve_settings
from support.workloads import DIGEST, IMAGE, release, version, work

PATTERNS = ("in-image", "load")


def container(found: list) -> dict:
    (server,) = by_kind(found)["Deployment"]["spec"]["template"]["spec"]["containers"]
    return server


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_model_has_a_namespace_a_deployment_a_service_and_what_scales_and_guards_it(pattern):
    kinds = [one["kind"] for one in plain(manifests(work(pattern)))]
    assert kinds == [
        "Namespace",
        "NetworkPolicy",
        "Deployment",
        "Service",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
    ]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_container_may_do_nothing_that_the_restricted_standard_forbids(pattern):
    spec = by_kind(manifests(work(pattern)))["Deployment"]["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 65532
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for one in (*spec.get("initContainers", ()), *spec["containers"]):
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        writable = {mount["mountPath"] for mount in one["volumeMounts"] if not mount.get("readOnly")}
        # Who fetches the bundle has to write it; who serves may not.
        fetched = {"/lading/bundles"} if one["name"] == "fetch" else set()
        assert writable == {"/tmp", "/lading/cache"} | fetched
    assert {next(iter(one.keys() - {"name"})) for one in spec["volumes"]} == {"emptyDir"}


def test_the_image_or_the_bundle_is_named_by_digest_and_never_by_a_tag():
    assert container(manifests(work("in-image")))["image"] == IMAGE
    spec = by_kind(manifests(work("load")))["Deployment"]["spec"]["template"]["spec"]
    assert (
        "initContainers" not in by_kind(manifests(work("in-image")))["Deployment"]["spec"]["template"]["spec"]
    )
    (fetch,) = spec["initContainers"]
    assert fetch["args"] == ["pull", f"iris@{version().digest}", "--to", "/lading/bundles/iris"]
    mounts = {one["mountPath"]: one for one in spec["containers"][0]["volumeMounts"]}
    assert mounts["/lading/bundles"]["readOnly"] is True


def test_probes_ask_the_model_for_readiness_and_only_the_process_for_life():
    server = container(manifests(work()))
    startup, readiness, life = (server[f"{one}Probe"] for one in ("startup", "readiness", "liveness"))
    model, process = ({"path": path, "port": "http"} for path in ("/models/iris/health", "/v2/health/live"))
    assert (startup["httpGet"], readiness["httpGet"], life["httpGet"]) == (model, model, process)
    assert {"name": "http", "containerPort": 8000} in server["ports"]


def lasts_s(probe: dict) -> int:
    """Give how long a probe has to fail until something is done."""
    assert "successThreshold" not in probe, "one answer is enough"
    assert "initialDelaySeconds" not in probe
    return probe["periodSeconds"] * probe["failureThreshold"]


def test_a_large_model_has_minutes_to_start_and_a_small_one_is_found_ready_in_a_second():
    startup = container(manifests(work()))["startupProbe"]
    assert startup["periodSeconds"] == 1
    deadline_s = by_kind(manifests(work()))["Deployment"]["spec"]["progressDeadlineSeconds"]
    assert 300 <= lasts_s(startup) < deadline_s, "it fails by itself before the rollout is called stuck"


def test_traffic_stops_long_before_a_pod_is_started_anew():
    server = container(manifests(work()))
    assert lasts_s(server["readinessProbe"]) <= 10
    assert lasts_s(server["livenessProbe"]) >= 60
    # Longer than a busy process may keep a probe waiting.
    assert server["livenessProbe"]["timeoutSeconds"] > server["readinessProbe"]["timeoutSeconds"]


def test_the_grace_period_covers_everything_that_the_server_may_take_to_end():
    found = manifests(work())
    spec = by_kind(found)["Deployment"]["spec"]["template"]["spec"]
    environ = {one["name"]: one["value"] for one in spec["containers"][0]["env"]}
    settings = serve_settings({}, environ)
    sleep_s = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    rest_then_grpc_s = 2 * settings.drain_timeout_s
    assert spec["terminationGracePeriodSeconds"] > sleep_s + settings.drain_delay_s + rest_then_grpc_s


def test_the_variables_of_the_container_are_settings_of_the_server():
    environ = {one["name"]: one["value"] for one in container(manifests(work(cpus=2)))["env"]}
    settings = serve_settings({}, environ)
    assert (settings.host, settings.port, settings.grpc_port, settings.threads) == ("0.0.0.0", 8000, 8001, 2)


def test_memory_is_what_was_measured_and_what_the_server_takes():
    small, large = (memory_mib(one) for one in (1.0, 1000.0))
    assert (small, large) == (256, 1440)
    server = container(manifests(work()))
    assert server["resources"]["requests"]["memory"] == f"{memory_mib(40.0)}Mi"
    assert server["resources"]["limits"] == {"memory": f"{memory_mib(40.0)}Mi"}


def test_memory_without_evidence_is_estimated_from_the_size_and_says_so():
    found = workload(version(size_bytes=200_000_000), Options(pattern="load", image=IMAGE), [])
    assert found.memory_mb == 600
    assert "estimated from its size" in " ".join(documents(manifests(found)).replace("# ", "").split())


def test_a_rollout_takes_no_pod_away_before_a_new_one_is_ready():
    spec = by_kind(manifests(work()))["Deployment"]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert "replicas" not in spec


def test_a_model_in_its_image_may_call_nobody_and_one_that_loads_only_its_registry():
    assert by_kind(manifests(work("in-image")))["NetworkPolicy"]["spec"]["egress"] == []
    ports = [
        one["port"]
        for rule in by_kind(manifests(work("load")))["NetworkPolicy"]["spec"]["egress"]
        for one in rule["ports"]
    ]
    assert ports == [53, 53, 443, 5000, 5432, 9000]


def test_credentials_come_from_secrets_by_name(monkeypatch):
    monkeypatch.setenv("LADING_REGISTRY", "postgresql://me:hunter2@db/lading")
    found = documents(manifests(work("load", pull_secret="login")))
    assert "hunter2" not in found
    spec = by_kind(manifests(work("load", pull_secret="login")))["Deployment"]["spec"]["template"]["spec"]
    assert spec["imagePullSecrets"] == [{"name": "login"}]
    assert spec["initContainers"][0]["envFrom"] == [{"secretRef": {"name": "lading-registry"}}]
    names = {one["name"] for one in spec["containers"][0]["volumeMounts"]}
    assert "registry-login" not in names, "only who pulls needs the login"


def test_labels_that_select_never_change_between_versions():
    first, second = (by_kind(manifests(work(number=number)))["Deployment"]["spec"] for number in (1, 2))
    assert first["selector"] == second["selector"]
    assert first["template"]["metadata"] != second["template"]["metadata"]


def test_the_two_sides_of_a_canary_share_no_pods():
    found = plain(canary_manifests(work(), work(number=2, side="candidate"), release(), "gateway"))
    deployments = [one for one in found if one["kind"] == "Deployment"]
    selectors = [one["spec"]["selector"]["matchLabels"] for one in deployments]
    assert [one["metadata"]["name"] for one in deployments] == ["iris", "iris-canary"]
    assert selectors[0] != selectors[1]
    budget = by_kind(found)["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]
    assert budget == selectors[0]


@pytest.mark.parametrize(
    ("state", "weights"),
    [("running", [90, 10]), ("paused", [90, 10]), ("rolled_back", [100, 0]), ("live", [100, 0])],
)
def test_the_weights_are_those_of_the_release(state, weights):
    (rule,) = weight_patch(release(state=state))["spec"]["rules"]
    assert [one["name"] for one in rule["backendRefs"]] == ["iris", "iris-canary"]
    assert [one["weight"] for one in rule["backendRefs"]] == weights


def test_a_shadow_gets_a_copy_and_answers_nobody():
    (rule,) = weight_patch(release("shadow"))["spec"]["rules"]
    assert [one["name"] for one in rule["backendRefs"]] == ["iris"]
    (mirror,) = rule["filters"]
    assert mirror["requestMirror"]["backendRef"]["name"] == "iris-canary"


def test_header_rules_of_the_release_become_matches_of_the_route():
    rule = HeaderRule("x-team", "qa", "candidate")
    forced, _share = weight_patch(release(rules=(rule,)))["spec"]["rules"]
    assert forced["matches"][0]["headers"] == [{"type": "Exact", "name": "x-team", "value": "qa"}]
    assert [one["name"] for one in forced["backendRefs"]] == ["iris-canary"]
    assert len(weight_patch(release(rules=(rule,), state="rolled_back"))["spec"]["rules"]) == 1


def test_the_gateway_may_be_in_another_namespace():
    for gateway, parent in (
        ("infra/public", {"name": "public", "namespace": "infra"}),
        ("public", {"name": "public"}),
    ):
        route = plain(http_route(release(), work().options, gateway))
        assert route["spec"]["parentRefs"] == [parent]


@pytest.mark.parametrize("found", [None, release(state="rolled_back")])
def test_a_canary_without_a_release_under_way_is_refused(found):
    with pytest.raises(UsageError, match="a live version and a candidate"):
        sides(found, "iris")


def test_kserve_runs_the_same_container_with_the_same_guards():
    found = by_kind(kserve_manifests(work()))
    (server,) = found["ServingRuntime"]["spec"]["containers"]
    assert {**server, "name": "server"} == container(manifests(work()))
    predictor = found["InferenceService"]["spec"]["predictor"]
    assert predictor["initContainers"][0]["args"][0] == "pull"
    assert predictor["automountServiceAccountToken"] is False
    assert predictor["model"]["runtime"] == found["ServingRuntime"]["metadata"]["name"]


@pytest.mark.parametrize("image", ["iris:3", "registry/iris", "", "a b@" + DIGEST, "x\n@" + DIGEST])
def test_an_image_in_image_without_a_digest_is_refused(image):
    with pytest.raises(InvalidSetting):
        Options(pattern="in-image", image=image)


@pytest.mark.parametrize("chosen", [{"namespace": "Models"}, {"secret": "a b"}, {"cpus": 0}])
def test_names_that_a_cluster_would_refuse_are_refused_here(chosen):
    with pytest.raises(InvalidSetting):
        Options(pattern="load", image=IMAGE, **chosen)


@given(st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", fullmatch=True))
def test_every_model_name_gives_a_name_that_dns_allows(name):
    check_name(name)
    found = object_name(name) + "-canary"
    assert len(found) <= 63
    assert found[0].isalpha()
    assert found.replace("-", "").isalnum()


def test_two_models_never_meet_in_one_name():
    names = ["a.b", "a-b", "a_b", "a--b", "1ab", "x" * 60, "x" * 61]
    names += ["iris", "iris-canary", "iris-canary-canary", "canary", object_name("a.b")]
    found = [object_name(one, side) for one in names for side in ("live", "candidate")]
    assert len({*found}) == 2 * len(names)


def test_a_model_called_as_a_candidate_has_objects_and_kustomize_files_of_its_own(tmp_path):
    """`iris-canary` beside `iris`, which has a candidate, and with a candidate itself."""
    of_iris = canary_manifests(work(), work(number=2, side="candidate"), release(), "gateway")
    options = Options(pattern="load", image=IMAGE)
    named = {
        side: workload(version(number, "iris-canary"), options, [], side)
        for number, side in ((1, "live"), (2, "candidate"))
    }
    moving = msgspec.structs.replace(release(), name="iris-canary")
    of_other = canary_manifests(named["live"], named["candidate"], moving, "gateway")
    ours, others = (
        {(one["kind"], one["metadata"]["name"]) for one in plain(found)} for found in (of_iris, of_other)
    )
    assert ours & others == {("Namespace", "models")}
    written = write_kustomize(tmp_path, of_other, "models")
    assert len({*written}) == len(written)
    listed = yaml.safe_load((tmp_path / "base/kustomization.yaml").read_text())["resources"]
    assert len({*listed}) == len(of_other)
    read = [yaml.safe_load((tmp_path / "base" / one).read_text()) for one in listed]
    assert read == plain(of_other)


TEXT = st.text(max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | TEXT
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXT, inner, max_size=3)
        | st.builds(Noted, inner, st.just("because of a reason " * 9))
    ),
    max_leaves=12,
)


@given(st.dictionaries(TEXT, TREES, min_size=1, max_size=4))
def test_whatever_is_written_reads_back_as_it_was(tree):
    assert yaml.safe_load(document(tree)) == plain(tree)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_surprises_has_a_comment_right_above_it(pattern):
    lines = documents(manifests(work(pattern))).splitlines()
    for field in (
        "automountServiceAccountToken:",
        "enableServiceLinks:",
        "terminationGracePeriodSeconds:",
        "startupProbe:",
        "readinessProbe:",
        "livenessProbe:",
        "preStop:",
        "maxUnavailable: 0",
        "appProtocol: kubernetes.io/h2c",
        "unhealthyPodEvictionPolicy:",
    ):
        (place,) = [number for number, line in enumerate(lines) if line.strip().startswith(field)]
        assert lines[place - 1].strip().startswith("#"), field


def test_a_kustomize_folder_keeps_what_the_user_changed(tmp_path):
    folder = tmp_path / "iris"
    write_kustomize(folder, manifests(work()), "models")
    staging = folder / "overlays/staging/kustomization.yaml"
    staging.write_text("mine")
    (folder / "base/deployment.yaml").write_text("stale")
    written = write_kustomize(folder, manifests(work(number=2)), "models")
    assert staging.read_text() == "mine"
    assert staging not in written
    assert 'version: "2"' in (folder / "base/deployment.yaml").read_text().replace("'", '"')
    listed = yaml.safe_load((folder / "base/kustomization.yaml").read_text())["resources"]
    assert {path.name for path in (folder / "base").iterdir()} == {*listed, "kustomization.yaml"}


def test_a_kustomize_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidSetting, match="a writable folder"):
        write_kustomize(tmp_path / "file", manifests(work()), "models")
