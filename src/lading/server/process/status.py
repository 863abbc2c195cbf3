"""What a server says of itself to its companions: where and since when it runs, and what it serves.

A server of several workers is one: each of them has a `Status`, and all say the same. Only reads; asking
costs the path of requests nothing, for everything is in the metrics already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lading.clock import iso_time
from lading.ref import Ref
from lading.replica import Pattern, ReplicaModel
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import ServedVersion, State
from lading.server.metrics import Metrics, Summary, VersionNow
from lading.settings import ServeSettings, bundles_folder

_WORST_FIRST = (State.FAILED, State.LOADING, State.WARMING, State.DRAINING, State.READY, State.UNLOADED)

_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """What of a server never changes: its id, its beginning as a Unix time, its addresses and settings."""

    replica: str
    started_at: float
    address: str
    grpc_address: str
    pattern: Pattern
    settings: ServeSettings


class Status:
    """The server that a companion runs beside."""

    def __init__(self, place: Place, plane: DataPlane, metrics: Metrics) -> None:
        self.place = place
        self._plane = plane
        self._metrics = metrics

    @property
    def replica(self) -> str:
        """The id of the server; one for all of its workers."""
        return self.place.replica

    @property
    def speaks(self) -> bool:
        """Whether this process speaks for the server: of its workers, one at a time does."""
        return self._metrics.is_first

    def models(self) -> tuple[ReplicaModel, ...]:
        """List every version that is there, ready or not, with what all workers together did for it."""
        summary = self._metrics.summary()
        here = {
            (one.name, str(one.version), one.digest): one
            for versions in self._plane.models.values()
            for one in versions
        }
        everywhere = {(now.model, now.version, now.digest): now for now in summary.versions}
        requests = _requests(summary)
        return tuple(
            _model(key, here.get(key), everywhere.get(key), requests.get(key[:2], 0))
            for key in sorted({**here, **everywhere}, key=lambda key: (key[0], int(key[1]), key[2]))
        )


def pattern_of(refs: Sequence[Ref | Path], bundles: Path | None = None) -> Pattern:
    """Tell how the models come here: with the image, where all of them lie in its folder.

    What is mounted there did not come with the image: an init container pulled it.
    """
    bundles = (bundles or bundles_folder()).resolve()
    inside = [isinstance(ref, Path) and ref.resolve().is_relative_to(bundles) for ref in refs]
    return "in-image" if refs and all(inside) and not bundles.is_mount() else "load"


def url(host: str, port: int, hostname: str, scheme: str = "http") -> str:
    """Write an address as others reach it: by the host's name where the server listens on every address."""
    shown = hostname if host in ("0.0.0.0", "::") else host  # noqa: S104 - only shown
    return f"{scheme}://{f'[{shown}]' if ':' in shown else shown}:{port}"


def _requests(summary: Summary) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for (model, version, _), counts in summary.requests.items():
        found[model, version] = found.get((model, version), 0) + sum(counts.statuses.values())
    return found


def _model(key: _Key, served: ServedVersion | None, now: VersionNow | None, requests: int) -> ReplicaModel:
    name, version, digest = key
    state, reason = _state(served, now)
    manifest = served.manifest if served is not None and served.is_opened else None
    last = now.last_request_at if now is not None else 0.0
    return ReplicaModel(
        name=name,
        version=int(version),
        digest=digest,
        state=state,
        reason=reason,
        purpose=manifest.purpose if manifest is not None else "",
        owner=manifest.owner if manifest is not None else "",
        input_format="; ".join(f"{one.name}: {one}" for one in manifest.signature.inputs) if manifest else "",
        requests=requests,
        last_request_at=iso_time(last) if last else None,
    )


def _state(served: ServedVersion | None, now: VersionNow | None) -> tuple[str, str]:
    """Return the state over all workers, the worst of them where they differ, and why."""
    states = now.states if now is not None and now.states else {}
    if served is not None and not states:
        return served.state.word, served.reason
    worst = next(state for state in _WORST_FIRST if state in states)
    reason = served.reason if served is not None and served.state is worst else ""
    if len(states) > 1:
        share = f"{states[worst]} of {sum(states.values())} workers"
        reason = f"{share}: {reason}" if reason else share
    return worst.word, reason
