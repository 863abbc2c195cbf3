"""What every protocol shares: which version answers, whether the inputs fit, the run, the outputs.

Holds no protocol: it knows arrays, names and errors, and neither JSON nor status codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lading.errors import LadingError, ModelNotFound, OutputUnknown, TagNotFound, VersionNotFound
from lading.server.states import Served, State, not_ready
from lading.signature import Array


@dataclass(slots=True, eq=False)
class Job:
    """One accepted prediction: a version, checked inputs, and how its outputs become an answer.

    ``outputs`` names the outputs to compute, all where it is None. ``encode`` runs in the thread that
    answers the client. ``deadline`` is on the monotonic clock, 0 for none. ``context`` is the host's own.
    """

    served: Served
    inputs: Mapping[str, Array]
    outputs: Sequence[str] | None
    encode: Callable[[dict[str, Array]], Any]
    rows: int = 1
    deadline: float = 0.0
    cancelled: bool = False
    result: dict[str, Array] | None = None
    error: LadingError | None = None
    context: Any = None


class DataPlane:
    """The versions that answer, by model name.

    Readers take no lock: `publish` replaces the whole table, so that a request sees it before or after a
    change and never in between.
    """

    def __init__(self, default_model: str = "") -> None:
        self._default = default_model
        self._models: dict[str, tuple[Served, ...]] = {}

    def publish(self, versions: Sequence[Served]) -> None:
        """Make `versions` the ones that requests find; newest last within a model."""
        models: dict[str, tuple[Served, ...]] = {}
        for served in versions:
            models[served.name] = (*models.get(served.name, ()), served)
        self._models = models
        if not self._default and versions:
            self._default = versions[0].name

    @property
    def models(self) -> Mapping[str, tuple[Served, ...]]:
        """Every version this server holds, ready or not."""
        return self._models

    @property
    def default_model(self) -> str:
        """The name of the model at the root routes; empty while there is none."""
        return self._default

    def versions(self, name: str) -> tuple[Served, ...]:
        """Give the versions of `name`, ready or not; raises `ModelNotFound`."""
        found = self._models.get(name)
        if found is None:
            given = ", ".join(f"`{model}`" for model in self._models) or "none"
            raise ModelNotFound(
                f"model `{name}`", expected=f"one of the models here ({given})", found="no such model"
            )
        return found

    def find(self, name: str | None = None, version: int | None = None, tag: str | None = None) -> Served:
        """Give the version meant, ready or not: by number, by tag, else the one that takes traffic."""
        versions = self.versions(name if name is not None else self._default)
        if version is not None:
            for served in versions:
                if served.version == version:
                    return served
            given = ", ".join(str(served.version) for served in versions)
            raise VersionNotFound(
                f"model `{versions[0].name}`", expected=f"version {given}", found=f"{version}"
            )
        if tag is not None:
            for served in versions:
                if tag in served.tags:
                    return served
            raise TagNotFound(
                f"model `{versions[0].name}`", expected="a tag that is served here", found=f"`{tag}`"
            )
        ready = [served for served in versions if served.state is State.READY]
        return ready[-1] if ready else versions[-1]

    def resolve(self, name: str | None = None, version: int | None = None, tag: str | None = None) -> Served:
        """Give the ready version meant.

        Raises `ModelNotFound`, `VersionNotFound`, `TagNotFound`, `ModelNotReady`.
        """
        served = self.find(name, version, tag)
        if served.state is not State.READY:
            raise not_ready(served)
        return served


def check_outputs(served: Served, names: Sequence[str]) -> None:
    """Raise `OutputUnknown` for a name that the version does not put out."""
    known = [tensor.name for tensor in served.signature.outputs]
    for name in names:
        if name not in known:
            expected = ", ".join(f"`{one}`" for one in known)
            raise OutputUnknown(f"output of `{served.label}`", expected=expected, found=f"`{name}`")


def rows_in(served: Served, inputs: Mapping[str, Array]) -> int:
    """Count the rows of a request; 1 where the model has no batch dimension."""
    first = served.signature.inputs[0]
    return int(inputs[first.name].shape[0]) if first.batched else 1
