"""Manifests from the command line: to stdout, as JSON, for a canary, and as a patch."""

from __future__ import annotations

import json
import sys

import pytest
import yaml

from lading.cli import main
from lading.registry import Registry
from lading.release import Plan
from support.bundles import linear_bundle
from support.python_bundles import python_bundle
from support.recorded_evidence import push_proved
from support.workloads import IMAGE, by_kind, pod_spec_of

LOADED = ["iris", "--pattern", "load", "--image", IMAGE]


@pytest.fixture
def released(tmp_path, monkeypatch):
    """Return a registry with two versions of iris, the second released as a canary."""
    url = str(tmp_path / "registry")
    monkeypatch.setenv("LADING_REGISTRY", url)
    with Registry.open(url) as opened:
        for seed in (0, 1):
            push_proved(opened, linear_bundle(tmp_path / f"{seed}.bundle", seed=seed))
        opened.releases.begin("iris", 1, Plan(mode="live"), actor="me")
        opened.releases.begin("iris", 2, Plan(mode="canary", steps=(5, 100)), actor="me")
        yield opened


def deploy(*arguments: str) -> int:
    return main(["deploy", "kubernetes", *arguments])


def test_yaml_goes_to_stdout_and_notes_to_stderr(released, capsys):
    assert deploy("iris:2", "--pattern", "in-image", "--image", IMAGE) == 0
    output = capsys.readouterr()
    deployment = by_kind(list(yaml.safe_load_all(output.out)))["Deployment"]
    assert deployment["metadata"]["annotations"]["com.lading.version"] == "2"
    assert "memory of `iris:2` is estimated" in output.err


def test_json_output_is_a_list_that_kubectl_reads_and_needs_no_yaml(released, capsys, monkeypatch):
    arguments = ("iris:2", "--pattern", "in-image", "--image", IMAGE)
    deploy(*arguments)
    manifests = list(yaml.safe_load_all(capsys.readouterr().out))
    monkeypatch.setitem(sys.modules, "yaml", None)  # As if the extra were not installed.
    assert deploy(*arguments, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"apiVersion": "v1", "kind": "List", "items": manifests}
    assert deploy(*arguments) == 2
    assert "pip install 'lading-ml[kubernetes]'" in capsys.readouterr().err


def test_both_sides_of_a_canary_come_from_the_release(released, capsys):
    assert deploy("iris", "--pattern", "load", "--image", IMAGE, "--canary") == 0
    manifests = list(yaml.safe_load_all(capsys.readouterr().out))
    deployments = [manifest for manifest in manifests if manifest["kind"] == "Deployment"]
    pulled = [pod_spec_of([deployment])["initContainers"][0]["args"][1] for deployment in deployments]
    assert pulled == [f"iris@{version.digest}" for version in released.versions("iris")]
    (rule,) = by_kind(manifests)["HTTPRoute"]["spec"]["rules"]
    assert [backend["weight"] for backend in rule["backendRefs"]] == [95, 5]


def test_the_patch_follows_the_release(released, capsys):
    def weights() -> list[int]:
        assert deploy("iris", "--print-patch") == 0
        (rule,) = json.loads(capsys.readouterr().out)["spec"]["rules"]
        return [backend["weight"] for backend in rule["backendRefs"]]

    assert weights() == [95, 5]
    released.releases.rollback("iris", to=1, actor="me")
    assert weights() == [100, 0]


def test_a_model_in_python_is_deployed_with_the_settings_of_its_server(tmp_path, released, capsys):
    released.push(python_bundle(tmp_path / "doubled.bundle"))
    chosen = ("doubled", "--pattern", "load", "--image", IMAGE, "--model-processes", "2")
    assert deploy(*chosen) == 1
    # Its pods would never be ready.
    assert "expected nothing of its own that runs, found its own code" in capsys.readouterr().err
    assert deploy(*chosen, "--allow", "code", "--wheels-claim", "wheels") == 0
    output = capsys.readouterr()
    spec = pod_spec_of(list(yaml.safe_load_all(output.out)))
    environ = {entry["name"]: entry["value"] for entry in spec["containers"][0]["env"]}
    assert (environ["LADING_ALLOW"], environ["LADING_MODEL_PROCESSES"]) == ("code", "2")
    assert {"environments", "wheels"} <= {volume["name"] for volume in spec["volumes"]}
    assert "their image needs uv or pip" in output.err


def test_a_batch_run_is_a_job_whose_options_the_command_itself_has_read(released, capsys):
    place = ("--data-claim", "rows", "--input", "/data/in", "--output", "/data/scored")
    chosen = ("iris:2", "--pattern", "load", "--image", IMAGE, "--batch", *place)
    assert deploy(*chosen, "--", "--keep", "id", "--max-rejected", "1%") == 0
    job = by_kind(list(yaml.safe_load_all(capsys.readouterr().out)))["Job"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"][:3] == ["batch", "run", "/lading/bundles/iris"]
    assert container["args"][-4:] == ["--keep", "id", "--max-rejected", "1%"]
    assert deploy(*chosen, "--", "--max-rejected", "some") == 2
    assert "max-rejected" in capsys.readouterr().err


def test_pods_scale_by_what_is_chosen(released, capsys):
    chosen = ("iris:2", "--pattern", "load", "--image", IMAGE, "--min-replicas", "2", "--max-replicas", "4")
    assert deploy(*chosen, "--autoscale", "keda", "--prometheus", "http://prometheus:9090") == 0
    spec = by_kind(list(yaml.safe_load_all(capsys.readouterr().out)))["ScaledObject"]["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["iris"], "expected `--pattern in-image` or `--pattern load`"),
        (["iris", "--pattern", "load"], "expected `--image`"),
        (["iris:1", "--pattern", "load", "--image", IMAGE, "--canary"], "expected `iris` alone"),
        (["iris", "--pattern", "in-image", "--image", IMAGE, "--canary"], "expected `--canary-image`"),
        (["iris", "--pattern", "load", "--image", IMAGE, "--canary-image", IMAGE], "needs `--canary`"),
        (["iris", "--pattern", "load", "--image", IMAGE, "--context", "a"], "needs `--apply`"),
        (["iris", "--pattern", "in-image", "--image", "iris:3"], "a digest, as"),
        ([*LOADED, "--input", "/data"], "need `--batch`"),
        ([*LOADED, "--batch", "--output", "s3://b"], "`--batch` needs `--input` and `--output`"),
        ([*LOADED, "--", "--keep", "id"], "options of a run need `--batch`"),
        (
            [*LOADED, "--batch", "--input", "s3://a", "--output", "s3://b", "--min-replicas", "2"],
            "goes with no",
        ),
        ([*LOADED, "--batch", "--input", "/data", "--output", "/data/out"], "expected `s3://…`"),
        ([*LOADED, "--prometheus", "http://p"], "need `--autoscale keda`"),
        ([*LOADED, "--autoscale", "hpa", "--kserve"], "does not go with `--kserve`"),
        ([*LOADED, "--autoscale", "keda"], "expected the URL of a Prometheus"),
    ],
)
def test_options_that_do_not_go_together_are_usage_errors(released, capsys, arguments, sentence):
    assert deploy(*arguments) == 2
    assert sentence in capsys.readouterr().err
