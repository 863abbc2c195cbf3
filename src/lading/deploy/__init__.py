"""What to deploy and how, in one file for each part, from the pod to the cluster.

`Options` are what a person chooses; a `Workload` is a version with its place in a cluster. From these, pure
functions make manifests. Resolves no reference, builds no image and stores nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from lading.errors import InvalidSetting

if TYPE_CHECKING:
    from lading.evidence import Evidence
    from lading.registry import ModelVersion
    from lading.runtime.python.host import Allow

Pattern = Literal["in-image", "load"]
Side = Literal["live", "candidate"]
ScaleBy = Literal["cpu", "hpa", "keda"]

UNMEASURED_PROCESS_MB = 512.0
"""For each model process beside its model, as long as nothing was measured."""

REGISTRY_SECRET = "lading-registry"  # noqa: S105 - the name of a Secret, not a secret
# Names of objects in Kubernetes (RFC 1123); those of a Service begin with a letter (RFC 1035).
_DNS_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_OBJECT_NAME = re.compile(r"[a-z]([a-z0-9-]{0,53}[a-z0-9])?")
_CANARY = "-canary"
_BATCH = "-batch"
_RESERVED_NAME = re.compile(rf".*({_CANARY}|{_BATCH})|m-.*-[0-9a-f]{{8}}")
"""Names that lading makes itself: those of candidates, those of batch runs, and those with a hash."""
_PINNED = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_IMAGE = re.compile(r"[a-z0-9][\w.:/-]*(@sha256:[0-9a-f]{64})?")


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How many pods serve, and by what; raises `InvalidSetting`.

    ``hpa`` reads lading's metrics through prometheus-adapter, ``keda`` reads them at the URL ``prometheus``.
    ``wake_query`` is a query in PromQL that is above 0 while somebody wants answers from no pod at all:
    only with it may ``min_pods`` be 0.
    """

    by: ScaleBy = "cpu"
    min_pods: int = 3
    max_pods: int = 10
    prometheus: str = ""
    wake_query: str = ""

    def __post_init__(self) -> None:
        if self.by == "keda" and not self.prometheus:
            hint = "such as `http://prometheus-operated.monitoring.svc:9090`"
            raise InvalidSetting("KEDA", expected="the URL of a Prometheus", found="none", hint=hint)
        if self.min_pods < (0 if self.by == "keda" and self.wake_query else 1):
            # Metrics of lading come from its pods: without one, nothing would ever ask for the first.
            raise InvalidSetting(
                "least number of pods",
                expected="at least 1, because without a pod no metric asks for the first",
                found=f"`{self.min_pods}`",
                hint="`--autoscale keda --wake-query QUERY` names a metric of somebody else, as of a gateway",
            )
        if self.max_pods < max(1, self.min_pods):
            least = max(1, self.min_pods)
            raise InvalidSetting(
                "most pods", expected=f"at least {least}, the least", found=f"`{self.max_pods}`"
            )


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a person chooses; raises `InvalidSetting`.

    ``allow``, ``model_processes`` and ``process_memory_mb`` are the server's settings of these names, for
    models in Python. ``wheels_claim`` names a volume with wheels to build their environments from, offline.
    ``secret`` names the Secret whose keys are the variables of registry and store (`LADING_REGISTRY`,
    `LADING_STORE` …); if it is empty, with `in-image` only, the pods know no registry. ``pull_secret`` names
    a Secret of type ``kubernetes.io/dockerconfigjson``, ``access_secret`` one with the access file,
    ``tls_secret`` one of type ``kubernetes.io/tls``, ``metrics_secret`` one with the key of who scrapes.
    ``cpus`` is the number of CPUs, and threads, per pod.
    """

    pattern: Pattern
    image: str
    namespace: str = "models"
    secret: str = ""
    pull_secret: str = ""
    access_secret: str = ""
    tls_secret: str = ""
    metrics_secret: str = ""
    cpus: int = 1
    allow: Allow = "none"
    model_processes: int = 1
    process_memory_mb: int = 0
    wheels_claim: str = ""
    scaling: Scaling = field(default_factory=Scaling)

    def __post_init__(self) -> None:
        # An init container that pulls the bundle has to know where the registry is.
        if self.pattern == "load" and not self.secret:
            object.__setattr__(self, "secret", REGISTRY_SECRET)
        self._check_image()
        for where, number in (("cpus of a pod", self.cpus), ("model processes", self.model_processes)):
            if number < 1:
                raise InvalidSetting(where, expected="at least 1", found=f"`{number}`")
        _check_name("namespace", self.namespace)
        if self.wheels_claim:
            _check_name("name of a PersistentVolumeClaim", self.wheels_claim)
        secrets = (self.secret, self.pull_secret, self.access_secret, self.tls_secret, self.metrics_secret)
        for name in filter(None, secrets):
            _check_name("name of a Secret", name)

    def _check_image(self) -> None:
        if not _IMAGE.fullmatch(self.image):
            raise InvalidSetting("image", expected="`registry/repository@sha256:…`", found=f"`{self.image}`")
        if self.pattern == "in-image" and not _PINNED.fullmatch(self.image):
            raise InvalidSetting(
                "image of pattern `in-image`",
                expected="a digest, as in `registry/iris@sha256:…`",
                found=f"`{self.image}`",
                hint="`lading image build` prints it; if a tag moves, the pods of one Deployment differ",
            )


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One version in a cluster. ``memory_mb`` is the memory of the model, measured or estimated.

    Of a model in Python, that is what it takes in the server itself; each of its processes takes
    ``process_mb``, which is 0 for all others.
    """

    version: ModelVersion
    options: Options
    memory_mb: float
    is_measured: bool
    side: Side = "live"
    process_mb: float = 0.0

    @property
    def model(self) -> str:
        """The model's name."""
        return self.version.name

    @property
    def name(self) -> str:
        """The name of its Deployment and Service."""
        return object_name(self.model, self.side)

    @property
    def runs_in_python(self) -> bool:
        """Whether it has processes of its own."""
        return self.process_mb > 0

    @property
    def builds_environment(self) -> bool:
        """Whether its pods build its environment when they start: images that hold a bundle hold it too."""
        return self.runs_in_python and self.options.pattern == "load"

    @property
    def pinned(self) -> str:
        """The reference by digest, which never changes its meaning."""
        return f"{self.model}@{self.version.digest}"


def workload(
    version: ModelVersion,
    options: Options,
    evidence: Iterable[Evidence],
    side: Side = "live",
    *,
    runs_in_python: bool = False,
) -> Workload:
    """Return a version as a workload; its memory is the largest that any evidence measured."""
    measured = [entry.numbers for entry in evidence if "memory_mb" in entry.numbers]
    # Without evidence, three times the size: a session holds the weights as read and again as packed for the
    # CPU, and needs some more.
    estimate = 3 * version.size_bytes / 1e6
    memory_mb = max((numbers["memory_mb"] for numbers in measured), default=estimate)
    process_mb = 0.0
    if runs_in_python:
        # Older evidence has one number for both: it counts for each process then.
        processes = [numbers.get("process_memory_mb", numbers["memory_mb"]) for numbers in measured]
        process_mb = max(processes, default=UNMEASURED_PROCESS_MB + estimate)
        memory_mb = max(0.0, memory_mb - process_mb) if measured else estimate
    return Workload(
        version=version,
        options=options,
        memory_mb=memory_mb,
        is_measured=bool(measured),
        side=side,
        process_mb=process_mb,
    )


def object_name(model: str, side: Side = "live") -> str:
    """Return the name of a model's objects: its own name if possible, else a similar and unique one."""
    name = model
    # No two models may share a name: one called `iris-canary` leaves that to the candidate of `iris`.
    if not _OBJECT_NAME.fullmatch(model) or _RESERVED_NAME.fullmatch(model):
        similar = re.sub(r"[^a-z0-9]+", "-", model).strip("-")[:40].rstrip("-")
        # The hash keeps names apart that only differ in what was replaced; `m-` makes it begin with a letter.
        name = f"m-{similar}-{hashlib.sha256(model.encode()).hexdigest()[:8]}"
    return name + (_CANARY if side == "candidate" else "")


def _check_name(where: str, name: str) -> None:
    if not _DNS_NAME.fullmatch(name):
        raise InvalidSetting(where, expected="lower-case letters, digits and `-`", found=f"`{name}`")
