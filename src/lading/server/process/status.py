"""What a server says about itself to its background tasks: where and since when it runs, and what it serves.

A server of several workers is one server: each of them has a `Status`, and all say the same. Only reads, and
costs the request path nothing, because everything is in the metrics already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lading.clock import iso_time
from lading.ref import Ref
from lading.replica import UNKNOWN, Pattern, ReplicaModel
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import ServedVersion, State
from lading.server.loading.trust import LoadGate
from lading.server.metrics import Metrics, Summary, VersionStatus
from lading.server.observe.columns import ColumnWindows
from lading.settings import ServeSettings, bundles_folder

_WORST_FIRST = (State.FAILED, State.LOADING, State.WARMING, State.DRAINING, State.READY, State.UNLOADED)

_Key = tuple[str, str, str]
"""Model, version, digest."""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What never changes while a server runs; ``started_at`` is a Unix time."""

    replica: str
    started_at: float
    address: str
    grpc_address: str
    pattern: Pattern
    settings: ServeSettings


class Status:
    """The server that a background task runs beside.

    ``columns`` counts its live rows, if it does; ``gate`` has its trust policy, if there is one.
    """

    def __init__(
        self,
        info: ServerInfo,
        plane: DataPlane,
        metrics: Metrics,
        columns: ColumnWindows | None = None,
        gate: LoadGate | None = None,
    ) -> None:
        self.info = info
        self.columns = columns
        self.gate = gate
        self._plane = plane
        self._metrics = metrics

    @property
    def replica(self) -> str:
        """The id of the server; one for all of its workers."""
        return self.info.replica

    @property
    def is_leader(self) -> bool:
        """Whether this process speaks for the server: one of its workers at a time does."""
        return self._metrics.is_first

    def report_driver(self, leading: bool, verdicts: Mapping[str, str]) -> None:
        """Show in the metrics whether this process drives the rollouts, and its last verdicts by model."""
        self._metrics.publish_driver(leading, verdicts)

    def report_monitor(
        self,
        leading: bool,
        drift: Mapping[str, Mapping[str, float]],
        alarms: Mapping[tuple[str, str], int],
    ) -> None:
        """Show in the metrics whether this process drives the monitor, the PSI of columns, and alarms."""
        self._metrics.monitor.publish(leading, drift, alarms)

    def models(self) -> tuple[ReplicaModel, ...]:
        """List every version that is present, ready or not, with its state and requests over all workers."""
        summary = self._metrics.summary()
        # What this process knows best (reasons, manifests), and what the workers have published.
        here = {
            (version.name, str(version.version), version.digest): version
            for versions in self._plane.models.values()
            for version in versions
        }
        everywhere = {(now.model, now.version, now.digest): now for now in summary.versions}
        requests = _requests(summary)
        models = tuple(
            _model(key, here.get(key), everywhere.get(key), requests.get(key[:2], 0))
            for key in sorted({**here, **everywhere}, key=lambda key: (key[0], int(key[1]), key[2]))
        )
        objections = self._plane.trust.objections if self._plane.trust is not None else {}
        return tuple(_with_objection(model, objections) for model in models) if objections else models


def pattern_of(refs: Sequence[Ref | Path], bundles: Path | None = None) -> Pattern:
    """Return how the models came here: in the image if all of them are in its folder `bundles`, else loaded.

    A volume that is mounted at that folder did not come with the image: an init container pulled into it.
    """
    bundles = (bundles or bundles_folder()).resolve()
    inside = [isinstance(ref, Path) and ref.resolve().is_relative_to(bundles) for ref in refs]
    return "in-image" if refs and all(inside) and not bundles.is_mount() else "load"


def url(host: str, port: int, hostname: str, scheme: str = "http") -> str:
    """Return an address as others reach it: with the host's name if the server listens on every address."""
    reachable = hostname if host in ("0.0.0.0", "::") else host  # noqa: S104 - only compared
    return f"{scheme}://{f'[{reachable}]' if ':' in reachable else reachable}:{port}"


def _requests(summary: Summary) -> dict[tuple[str, str], int]:
    """Return the requests of each version over all protocols."""
    requests: dict[tuple[str, str], int] = {}
    for (model, version, _), counts in summary.requests.items():
        so_far = requests.get((model, version), 0)
        requests[model, version] = so_far + sum(counts.statuses.values())
    return requests


def _model(
    key: _Key, version: ServedVersion | None, now: VersionStatus | None, requests: int
) -> ReplicaModel:
    name, number, digest = key
    state, reason = _state(version, now)
    manifest = version.manifest if version is not None and version.is_opened else None
    inputs = manifest.signature.inputs if manifest is not None else ()
    last_request_at = now.last_request_at if now is not None else 0.0
    return ReplicaModel(
        name=name,
        version=int(number),
        digest=digest,
        state=state,
        reason=reason,
        purpose=manifest.purpose if manifest is not None else "",
        owner=manifest.owner if manifest is not None else "",
        input_format="; ".join(f"{tensor.name}: {tensor}" for tensor in inputs),
        executes=manifest.executes_text if manifest is not None else UNKNOWN,
        environment=manifest.lock_digest if manifest is not None else "",
        python=manifest.python if manifest is not None else "",
        requests=requests,
        last_request_at=iso_time(last_request_at) if last_request_at else None,
    )


def _with_objection(model: ReplicaModel, objections: Mapping[tuple[str, int], str]) -> ReplicaModel:
    """Return a model with why the policy would not let it in now, if nothing else is to be said of it."""
    objection = objections.get((model.name, model.version))
    return msgspec.structs.replace(model, reason=objection) if objection and not model.reason else model


def _state(version: ServedVersion | None, now: VersionStatus | None) -> tuple[str, str]:
    """Return the state over all workers, the worst of them if they differ, and why."""
    states = now.states if now is not None and now.states else {}
    if version is not None and not states:  # It is so new that no worker has published it.
        return version.state.word, version.reason
    worst = next(state for state in _WORST_FIRST if state in states)
    reason = version.reason if version is not None and version.state is worst else ""
    # Workers differ while they load one after the other, or if only one of them has failed.
    if len(states) > 1:
        share = f"{states[worst]} of {sum(states.values())} workers"
        reason = f"{share}: {reason}" if reason else share
    return worst.word, reason
