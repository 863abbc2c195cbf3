"""What to deploy and how, and one file for each part of it: manifests, canary, KServe, kustomize, cluster.

`Options` is what a person chooses; `Workload` is a version with its place in a cluster. From these, pure
functions make manifests. Resolves no reference, builds no image and stores nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lading.errors import InvalidSetting

if TYPE_CHECKING:
    from lading.evidence import Evidence
    from lading.registry import ModelVersion

Pattern = Literal["in-image", "load"]
Side = Literal["live", "candidate"]

REGISTRY_SECRET = "lading-registry"  # noqa: S105 - the name of a Secret, not a secret
_DNS_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_OBJECT_NAME = re.compile(r"[a-z]([a-z0-9-]{0,53}[a-z0-9])?")
_CANARY = "-canary"
_GIVEN_NAME = re.compile(rf".*{_CANARY}|m-.*-[0-9a-f]{{8}}")
"""Names that lading gives: those of candidates, and those that `object_name` makes."""
_PINNED = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_IMAGE = re.compile(r"[a-z0-9][\w.:/-]*(@sha256:[0-9a-f]{64})?")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a person chooses; raises `InvalidSetting`.

    ``secret`` names the Secret whose keys are the variables of registry and store (`LADING_REGISTRY`,
    `LADING_STORE` …); empty with `in-image`: the pods know no registry. ``pull_secret`` names one of type
    ``kubernetes.io/dockerconfigjson``. ``cpus`` are of one pod, and its threads.
    """

    pattern: Pattern
    image: str
    namespace: str = "models"
    secret: str = ""
    pull_secret: str = ""
    cpus: int = 1

    def __post_init__(self) -> None:
        if self.pattern == "load" and not self.secret:
            object.__setattr__(self, "secret", REGISTRY_SECRET)
        self._check_image()
        if self.cpus < 1:
            raise InvalidSetting("cpus of a pod", expected="at least 1", found=f"`{self.cpus}`")
        _check_name("namespace", self.namespace)
        for name in filter(None, (self.secret, self.pull_secret)):
            _check_name("name of a Secret", name)

    def _check_image(self) -> None:
        if not _IMAGE.fullmatch(self.image):
            raise InvalidSetting("image", expected="`registry/repository@sha256:…`", found=f"`{self.image}`")
        if self.pattern == "in-image" and not _PINNED.fullmatch(self.image):
            raise InvalidSetting(
                "image of pattern `in-image`",
                expected="a digest, as `registry/iris@sha256:…`",
                found=f"`{self.image}`",
                hint="`lading image build` prints it; a tag may move, and then pods of one Deployment differ",
            )


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One version in a cluster. ``memory_mb`` is what the model takes, measured or estimated."""

    version: ModelVersion
    options: Options
    memory_mb: float
    is_measured: bool
    side: Side = "live"

    @property
    def model(self) -> str:
        """The model's name."""
        return self.version.name

    @property
    def name(self) -> str:
        """The name of its Deployment and Service."""
        return object_name(self.model, self.side)

    @property
    def pinned(self) -> str:
        """The reference by digest."""
        return f"{self.model}@{self.version.digest}"


def workload(
    version: ModelVersion, options: Options, evidence: Iterable[Evidence], side: Side = "live"
) -> Workload:
    """Put a version into a cluster; its memory is the most that any evidence measured.

    Without evidence, three times its size: a session holds the weights once as read, once as packed for the
    CPU, and some more.
    """
    measured = [one.numbers["memory_mb"] for one in evidence if "memory_mb" in one.numbers]
    return Workload(
        version=version,
        options=options,
        memory_mb=max(measured) if measured else 3 * version.size_bytes / 1e6,
        is_measured=bool(measured),
        side=side,
    )


def object_name(model: str, side: Side = "live") -> str:
    """Return the name of a model's objects: its own where that may be, else a like one that no other has.

    A Service's name begins with a letter and knows no `.` or `_`; two models must not meet in one name, so a
    model called `iris-canary` leaves that name to the candidate of `iris`.
    """
    name = model
    if not _OBJECT_NAME.fullmatch(model) or _GIVEN_NAME.fullmatch(model):
        like = re.sub(r"[^a-z0-9]+", "-", model).strip("-")[:40].rstrip("-")
        name = f"m-{like}-{hashlib.sha256(model.encode()).hexdigest()[:8]}"
    return name + (_CANARY if side == "candidate" else "")


def _check_name(what: str, name: str) -> None:
    if not _DNS_NAME.fullmatch(name):
        raise InvalidSetting(what, expected="lower-case letters, digits and `-`", found=f"`{name}`")
