"""A batch run in a cluster: a Job that scores once, or a CronJob that does so by a schedule.

The same image, rights and volumes as the server's pod. Checks no option of ``lading batch run``, which the
command line does, and knows nothing of what the output holds: a pod that takes another's place goes on there.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from lading.deploy import Workload, object_name
from lading.deploy.kubernetes import egress, namespace, version_annotations
from lading.deploy.pod import (
    BUNDLES,
    CACHE,
    container_security,
    fetch_container,
    image_of,
    mounts,
    pod_security,
    python_environment,
    rounded_mib,
    volumes,
)
from lading.deploy.yamltext import Noted
from lading.errors import InvalidSetting

DATA = "/data"
RUN_VARIABLE = "LADING_RUN"
RUN_LABEL = "batch.kubernetes.io/job-name"
FINAL_CODES = (1, 2, 3)
"""Exit codes (`lading.cli.ui.exit_codes`) that another attempt would have too: refused, usage, not found."""
SCORER_MB = 512
"""For each process that scores, beside its model: a part of rows as they were read, and their answers."""
RUN_MB = 256
GRACE_S = 30
RETRIES = 6
KEPT_S = 7 * 24 * 3600
_MOST_NAME = 52  # Of a CronJob: its Jobs add eleven characters.
_FIELD = r"(\*|[0-9A-Za-z]+(-[0-9A-Za-z]+)?)(/[0-9]+)?"
_FIELDS = re.compile(rf"{_FIELD}(,{_FIELD})*")
_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")


@dataclass(frozen=True, kw_only=True)
class BatchJob:
    """What is scored, where to, and when; raises `InvalidSetting`.

    Paths are below ``/data``, where ``claim`` names the volume, or ``s3://…``. ``options`` are others of
    ``lading batch run``. With a ``schedule``, in UTC, each run writes to a folder of its own in ``output``.
    """

    inputs: tuple[str, ...]
    output: str
    options: tuple[str, ...] = ()
    claim: str = ""
    schedule: str = ""

    def __post_init__(self) -> None:
        for place in (*self.inputs, self.output):
            self._check_place(place)
        if self.schedule and not _is_schedule(self.schedule):
            expected = "five fields, as in `0 3 * * *`, or `@daily`"
            raise InvalidSetting("schedule", expected=expected, found=f"`{self.schedule}`")

    def _check_place(self, place: str) -> None:
        """Refuse what would not be in the pod, or would be lost with it."""
        if place.startswith("s3://"):
            return
        if not self.claim:
            hint = f"`--data-claim` names a PersistentVolumeClaim, which is at {DATA} in the pod"
            raise InvalidSetting("data of the run", expected="`s3://…`", found=f"`{place}`", hint=hint)
        if not f"{place}/".startswith(f"{DATA}/") or ".." in place.split("/"):
            hint = f"in the pod, `{self.claim}` is at {DATA}"
            raise InvalidSetting(
                "data of the run", expected=f"a path below {DATA}", found=f"`{place}`", hint=hint
            )


def batch_manifests(work: Workload, job: BatchJob) -> list[Any]:
    """Return the namespace, the network policy, and the Job or CronJob."""
    # In the order to apply them: pods must not start before the policy that limits them.
    made = cron_job(work, job) if job.schedule else single_job(work, job)
    return [namespace(work), network_policy(work), made]


def batch_name(model: str) -> str:
    """Return the name of a model's batch runs, short enough for a CronJob."""
    name = f"{object_name(model)}-batch"
    if len(name) <= _MOST_NAME:
        return name
    # As in `object_name`: the hash keeps apart what was made alike.
    similar = re.sub(r"[^a-z0-9]+", "-", model).strip("-")[:34].rstrip("-")
    return f"m-{similar}-{hashlib.sha256(model.encode()).hexdigest()[:8]}-batch"


def single_job(work: Workload, job: BatchJob) -> Any:
    """Return the Job."""
    # A Job cannot be changed: one of another version or for other rows has another name.
    wish = "\0".join((work.version.digest, work.options.image, *_arguments(work, job)))
    name = f"{batch_name(work.model)}-{hashlib.sha256(wish.encode()).hexdigest()[:8]}"
    return Noted(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": _metadata(work, name),
            "spec": _job_spec(work, job),
        },
        "Applied again it is the same Job; another version, image, input or option makes another one.",
    )


def cron_job(work: Workload, job: BatchJob) -> Any:
    """Return the CronJob."""
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": _metadata(work, batch_name(work.model)),
        "spec": {
            "schedule": job.schedule,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": Noted(
                "Forbid", "A run that takes longer than its period is not joined by the next."
            ),
            "startingDeadlineSeconds": Noted(
                3600, "After an outage of the cluster, a run may begin an hour late."
            ),
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"metadata": {"labels": labels(work)}, "spec": _job_spec(work, job)},
        },
    }


def network_policy(work: Workload) -> Any:
    """Return what the pods of a run may connect to; nothing may connect to them."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(work, batch_name(work.model)),
        "spec": {
            "podSelector": {"matchLabels": labels(work)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": Noted([], "A run answers nobody."),
            "egress": egress(work),
        },
    }


def labels(work: Workload) -> dict[str, str]:
    """Return the labels of the pods of runs, which no Service of the model selects."""
    return {"app.kubernetes.io/name": work.model, "app.kubernetes.io/instance": batch_name(work.model)}


def _metadata(work: Workload, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": work.options.namespace,
        "labels": {**labels(work), "app.kubernetes.io/managed-by": "lading"},
        "annotations": version_annotations(work),
    }


def _job_spec(work: Workload, job: BatchJob) -> dict[str, Any]:
    drained = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    final = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": list(FINAL_CODES)}}
    return {
        "backoffLimit": Noted(
            RETRIES, "Each attempt goes on where the last was: what is done is not scored again."
        ),
        "podFailurePolicy": {
            "rules": [
                Noted(drained, "A pod that had to leave its node has not failed."),
                Noted(
                    final,
                    "Refused (1), a wrong option or no such file (2), no such version (3): another attempt "
                    "would end the same. Others are tried again, as 4 (a registry or disk did not respond).",
                ),
            ]
        },
        "podReplacementPolicy": Noted(
            "Failed", "Not before the old pod has gone: two runs refuse each other."
        ),
        "ttlSecondsAfterFinished": Noted(KEPT_S, "A week for its log; what it wrote stays."),
        "template": {
            "metadata": {"labels": labels(work), "annotations": version_annotations(work)},
            "spec": _pod(work, job),
        },
    }


def _pod(work: Workload, job: BatchJob) -> dict[str, Any]:
    options = work.options
    spec: dict[str, Any] = {
        "restartPolicy": Noted("Never", "The Job makes another pod: only so are exit codes looked at."),
        "automountServiceAccountToken": Noted(False, "A model has no business with the cluster's API."),
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": GRACE_S,
    }
    if options.pull_secret:
        spec["imagePullSecrets"] = [{"name": options.pull_secret}]
    if options.pattern == "load":
        spec["initContainers"] = [fetch_container(work)]
    spec["containers"] = [_container(work, job)]
    claimed = {"name": "data", "persistentVolumeClaim": {"claimName": job.claim}}
    spec["volumes"] = [*volumes(work), *([claimed] if job.claim else [])]
    return spec


def _container(work: Workload, job: BatchJob) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "batch",
        "image": image_of(work),
        "args": Noted(_arguments(work, job), "The image needs pyarrow (`requirements/batch.txt`)."),
        "env": _environment(work, job),
    }
    if work.options.secret:
        container["envFrom"] = Noted(
            [{"secretRef": {"name": work.options.secret}}],
            "Registry, store and `s3://` with their credentials: never in this file.",
        )
    # Writable even if the claim is only read from: one claim may hold both inputs and output.
    data = {"name": "data", "mountPath": DATA}
    return {
        **container,
        "resources": _resources(work),
        "securityContext": container_security(),
        "volumeMounts": [*mounts(work, writable_bundles=False), *([data] if job.claim else [])],
    }


def _arguments(work: Workload, job: BatchJob) -> list[Any]:
    output: Any = job.output
    if job.schedule:
        why = "The Job's name: what is tried again goes on in its folder, and the next run has another."
        output = Noted(f"{job.output.rstrip('/')}/$({RUN_VARIABLE})", why)
    inputs = [part for place in job.inputs for part in ("--input", place)]
    # A pod has no CPU limit: by default there would be a process for each core of the node.
    processes = [] if "--processes" in job.options else ["--processes", str(work.options.cpus)]
    bundle = f"{BUNDLES}/{work.model}"
    return ["batch", "run", bundle, *inputs, "--output", output, *processes, *job.options]


def _environment(work: Workload, job: BatchJob) -> list[Any]:
    named = {"fieldRef": {"fieldPath": f"metadata.labels['{RUN_LABEL}']"}}
    return [
        *([{"name": RUN_VARIABLE, "valueFrom": named}] if job.schedule else []),
        {"name": "LADING_CACHE", "value": CACHE},
        {"name": "HOME", "value": Noted("/tmp", "Only this, the cache and the data are writable.")},  # noqa: S108
        *python_environment(work),
    ]


def _resources(work: Workload) -> dict[str, Any]:
    # Each process that scores opens the bundle for itself, with its model process if it runs in Python.
    each_mb = SCORER_MB + 1.25 * (work.memory_mb + work.process_mb)
    memory = f"{rounded_mib(RUN_MB + work.options.cpus * each_mb)}Mi"
    why = (
        f"{RUN_MB} MB for the run + {work.options.cpus} × ({SCORER_MB} MB for a part of the rows + 1.25 × "
        f"{work.memory_mb + work.process_mb:.0f} MB for the model). Wide rows take more."
    )
    return {
        "requests": {"cpu": str(work.options.cpus), "memory": Noted(memory, why)},
        "limits": {"memory": memory},
    }


def _is_schedule(text: str) -> bool:
    fields = text.split()
    return text in _MACROS or (len(fields) == 5 and all(map(_FIELDS.fullmatch, fields)))
