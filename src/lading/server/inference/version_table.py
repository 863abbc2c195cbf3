"""What requests find at one moment: the versions here, and which of them a request is for. Runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lading.errors import ModelNotFound, ModelNotReady, TagNotFound, VersionNotFound
from lading.ref import RELEASE_TAGS
from lading.server.inference.traffic import Headers, Traffic
from lading.server.inference.version import ServedVersion, State

ANSWERING = (State.READY, State.DRAINING)


@dataclass(frozen=True, slots=True)
class VersionTable:
    """Versions by model, newest last, and how releases share their traffic.

    ``default`` is the model of the root routes. ``ready`` has, by model, the version that answers a request
    which names neither version nor tag; the key None stands for the default model.
    """

    models: Mapping[str, tuple[ServedVersion, ...]]
    traffic: Mapping[str, Traffic]
    ready: Mapping[str | None, ServedVersion]
    splits: bool
    default: str

    @classmethod
    def of(
        cls, versions: Sequence[ServedVersion], traffic: Mapping[str, Traffic], default: str
    ) -> VersionTable:
        """Make the table of this moment."""
        models: dict[str, tuple[ServedVersion, ...]] = {}
        ready: dict[str | None, ServedVersion] = {}
        for served in versions:
            models[served.name] = (*models.get(served.name, ()), served)
            release = traffic.get(served.name)
            if served.state is State.READY and (release is None or release.live in (None, served.version)):
                ready[served.name] = served
        if default in ready:
            ready[None] = ready[default]
        return cls(models, traffic, ready, any(release.splits for release in traffic.values()), default)

    def versions(self, name: str, not_ready_reason: str) -> tuple[ServedVersion, ...]:
        """Return the versions of `name`, ready or not.

        Raises `ModelNotFound`. Raises `ModelNotReady` if the server has no model at all and none was named,
        or there is a `not_ready_reason`.
        """
        versions = self.models.get(name)
        if versions is None:
            if not self.models and (not_ready_reason or not name):
                raise ModelNotReady(nothing_loaded(not_ready_reason))
            names = ", ".join(f"`{model}`" for model in self.models) or "none"
            raise ModelNotFound(
                f"model `{name}`",
                expected=f"one of the models here ({names})",
                found="no such model",
                model=name,
            )
        return versions

    def find(
        self, name: str | None, version: int | None, tag: str | None, not_ready_reason: str
    ) -> ServedVersion:
        """Return the version meant, ready or not: by number, by tag, else the one that takes traffic."""
        versions = self.versions(name if name is not None else self.default, not_ready_reason)
        if version is not None:
            return _numbered(versions, version)
        traffic = self.traffic.get(versions[0].name)
        if tag is not None:
            return _tagged(versions, tag, traffic)
        candidate = traffic.candidate if traffic is not None else None
        for state in ANSWERING:
            for served in reversed(versions):
                if served.state is state and served.version != candidate:
                    return served
        return versions[-1]

    def side(self, name: str | None, caller: Headers, draw: Callable[[], float]) -> ServedVersion | None:
        """Return the version on the caller's side of the release; live if the candidate is not ready."""
        live = self.ready.get(name)
        traffic = self.traffic.get(name if name is not None else self.default)
        if traffic is None or traffic.side(caller, draw) == "live":
            return live
        candidate = self.numbered(traffic.name, traffic.candidate)
        return candidate if candidate is not None and candidate.state is State.READY else live

    def live(self, name: str) -> ServedVersion | None:
        """Return the live version of a model that has a release."""
        traffic = self.traffic.get(name)
        return self.numbered(name, traffic.live) if traffic is not None else None

    def numbered(self, name: str, version: int | None) -> ServedVersion | None:
        """Return a version by its number, or None if it is not here."""
        return next((served for served in self.models.get(name, ()) if served.version == version), None)

    def deciding(self) -> list[ServedVersion]:
        """List the versions whose states decide whether this server is ready."""
        # A model under a release answers while any of its versions is ready: a candidate that is loading or
        # has failed must not take a replica out of traffic.
        deciding = [
            served
            for name, versions in self.models.items()
            for served in versions
            if name not in self.traffic or all(other.state is not State.READY for other in versions)
        ]
        if not any(served.state is State.READY for versions in self.models.values() for served in versions):
            return deciding
        # What crashed here would crash on every replica, and the other models would go with all of them.
        return [served for served in deciding if not served.taken_out]


def nothing_loaded(reason: str) -> str:
    """Return the sentence that no model is loaded, with the reason if it is known."""
    return f"no model is loaded: {reason}" if reason else "no model is loaded"


def _numbered(versions: Sequence[ServedVersion], version: int) -> ServedVersion:
    for served in versions:
        if served.version == version:
            return served
    numbers = ", ".join(str(served.version) for served in versions)
    raise VersionNotFound(f"model `{versions[0].name}`", expected=f"version {numbers}", found=f"{version}")


def _tagged(versions: Sequence[ServedVersion], tag: str, traffic: Traffic | None) -> ServedVersion:
    if traffic is not None and tag in RELEASE_TAGS:
        # Only the release says which version it is, if any; the tags here are those when it was loaded.
        tagged = (served for served in versions if served.version == traffic.tagged(tag))
    else:
        tagged = (served for served in versions if tag in served.tags)
    for served in tagged:
        return served
    raise TagNotFound(f"model `{versions[0].name}`", expected="a tag that is served here", found=f"`{tag}`")
