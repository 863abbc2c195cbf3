"""A batch run as a Job and a CronJob: what they are, and what their container does when it really runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lading.cli.ui import exit_codes
from lading.deploy import Options, object_name, workload
from lading.deploy.batch import FINAL_CODES, BatchJob, batch_manifests, batch_name
from lading.deploy.kubernetes import manifests
from lading.deploy.pod import BUNDLES
from lading.deploy.yamltext import plain
from lading.errors import InvalidSetting
from support.bundles import linear_bundle
from support.workloads import IMAGE, by_kind, python_work, version, work

ONCE = BatchJob(inputs=("/data/in",), output="/data/scored", claim="rows")
NIGHTLY = BatchJob(inputs=("s3://lake/in",), output="s3://lake/scored/", schedule="0 3 * * *")


def job_of(made: list[Any]) -> dict[str, Any]:
    """Return the specification of the Job, or of those that the CronJob makes."""
    kinds = by_kind(made)
    spec: dict[str, Any] = (
        kinds["CronJob"]["spec"]["jobTemplate"]["spec"] if "CronJob" in kinds else kinds["Job"]["spec"]
    )
    return spec


def container_of(made: list[Any]) -> dict[str, Any]:
    (container,) = job_of(made)["template"]["spec"]["containers"]
    return container


def test_a_run_is_a_job_and_by_a_schedule_a_cron_job():
    assert [*by_kind(batch_manifests(work(), ONCE))] == ["Namespace", "NetworkPolicy", "Job"]
    cron = by_kind(batch_manifests(work(), NIGHTLY))["CronJob"]["spec"]
    assert (cron["schedule"], cron["timeZone"], cron["concurrencyPolicy"]) == (
        "0 3 * * *",
        "Etc/UTC",
        "Forbid",
    )


def test_attempts_go_on_in_one_folder_and_scheduled_runs_have_one_each():
    assert "/data/scored" in container_of(batch_manifests(work(), ONCE))["args"]
    nightly = container_of(batch_manifests(work(), NIGHTLY))
    assert "s3://lake/scored/$(LADING_RUN)" in nightly["args"]
    (named,) = [entry for entry in nightly["env"] if entry["name"] == "LADING_RUN"]
    # The same for all pods of a Job, and another one for each Job.
    assert named["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['batch.kubernetes.io/job-name']"


def test_what_would_end_the_same_again_is_not_tried_again():
    drained, final = job_of(batch_manifests(work(), ONCE))["podFailurePolicy"]["rules"]
    assert drained["action"] == "Ignore"
    assert final == {
        "action": "FailJob",
        "onExitCodes": {
            "operator": "In",
            "values": [exit_codes.REFUSED, exit_codes.USAGE_ERROR, exit_codes.NOT_FOUND],
        },
    }
    assert exit_codes.UNAVAILABLE not in FINAL_CODES


def test_pods_of_runs_are_no_pods_of_the_service_and_nothing_connects_to_them():
    run, served = (by_kind(made(work())) for made in (lambda each: batch_manifests(each, ONCE), manifests))
    pods = job_of(list(run.values()))["template"]["metadata"]["labels"]
    assert not served["Service"]["spec"]["selector"].items() <= pods.items()
    assert not served["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= pods.items()
    policy = run["NetworkPolicy"]
    assert policy["metadata"]["name"] != served["NetworkPolicy"]["metadata"]["name"]
    assert (policy["spec"]["podSelector"]["matchLabels"], policy["spec"]["ingress"]) == (pods, [])


@pytest.mark.parametrize(
    "change",
    [{"inputs": ("/data/other",)}, {"output": "/data/2"}, {"options": ("--keep", "id")}],
)
def test_a_job_for_other_rows_has_another_name(change):
    chosen = {"inputs": ONCE.inputs, "output": ONCE.output, "claim": "rows", **change}

    def name(job: BatchJob, number: int = 1) -> str:
        return by_kind(batch_manifests(work(number=number), job))["Job"]["metadata"]["name"]

    assert len({name(ONCE), name(BatchJob(**chosen)), name(ONCE, 2)}) == 3
    assert name(ONCE) == name(BatchJob(inputs=ONCE.inputs, output=ONCE.output, claim="rows"))


@pytest.mark.parametrize("model", ["iris", "a.b_c", "x" * 46, "x" * 47, "x" * 63, "iris-batch"])
def test_names_leave_a_cron_job_room_for_those_of_its_jobs(model):
    assert len(batch_name(model)) <= 52
    assert batch_name(model) != object_name("iris-batch")


def test_the_image_and_the_rights_are_those_of_the_server():
    served = by_kind(manifests(work("in-image")))["Deployment"]["spec"]["template"]["spec"]
    run = job_of(batch_manifests(work("in-image"), ONCE))["template"]["spec"]
    server, batch = served["containers"][0], run["containers"][0]
    assert (batch["image"], batch["securityContext"]) == (server["image"], server["securityContext"])
    assert run["securityContext"] == served["securityContext"]


def test_a_model_in_python_runs_by_its_settings_with_memory_for_each_process():
    container = container_of(batch_manifests(python_work("in-image", allow="code"), ONCE))
    assert {"name": "LADING_ALLOW", "value": "code"} in container["env"]
    plain_run = container_of(batch_manifests(work("in-image"), ONCE))
    needs, other = (int(each["resources"]["limits"]["memory"][:-2]) for each in (container, plain_run))
    assert needs > other + 200


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"claim": ""}, "--data-claim"),
        ({"output": "/scored"}, "a path below /data"),
        ({"output": "/data/../scored"}, "a path below /data"),
        ({"inputs": ("/database",)}, "a path below /data"),
        ({"schedule": "0 3 * *"}, "five fields"),
        ({"schedule": "0 3 * * * *"}, "five fields"),
        ({"schedule": "at three o'clock every day"}, "five fields"),
    ],
)
def test_what_would_not_run_in_a_pod_is_refused(change, sentence):
    chosen = {"inputs": ("/data/in",), "output": "/data/out", "claim": "rows", **change}
    with pytest.raises(InvalidSetting) as caught:
        BatchJob(**chosen)
    assert sentence in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("schedule", ["*/15 * * * *", "0 3 1,15 * MON-FRI", "@daily", "30 1-5/2 * JAN *"])
def test_schedules_of_cron_are_taken(schedule):
    assert BatchJob(inputs=("s3://a",), output="s3://b", schedule=schedule).schedule == schedule


@pytest.mark.slow
def test_the_container_scores_and_its_exit_codes_are_those_of_the_policy(tmp_path: Path):
    """Its arguments as a process of this machine, with the folders of the pod elsewhere."""
    data = tmp_path / "data"
    bundle = linear_bundle(tmp_path / "bundles" / "iris")
    data.mkdir()
    columns = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    (data / "in.csv").write_text(",".join(("id", *columns)) + "\n1,1,2,3,4\n2,5,6,7,8\n")
    options = ("--keep", "id")
    job = BatchJob(inputs=("/data/in.csv",), output="/data/scored", claim="rows", options=options)
    made = workload(version(), Options(pattern="in-image", image=IMAGE), [])
    arguments = container_of(plain(batch_manifests(made, job)))["args"]

    def run() -> subprocess.CompletedProcess[str]:
        here = [
            each.replace(BUNDLES, str(bundle.path.parent)).replace("/data", str(data)) for each in arguments
        ]
        command = [sys.executable, "-m", "lading", *here]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    done = run()
    assert done.returncode == 0, done.stderr
    assert json.loads((data / "scored" / "manifest.json").read_text())["rows"] == 2
    # What another pod of the Job does after that: nothing that changes the output.
    assert run().returncode == 0
    (data / "in.csv").write_text(",".join(("id", *columns)) + "\n1,1,2,3,4\n")
    refused = run()
    assert refused.returncode in FINAL_CODES, refused.stderr
