"""How servers of the inventory are shown, and how one is found by its id. Reads no registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lading import units
from lading.cli.ui.runs_view import RUNS_HEADER, Runs
from lading.errors import LadingError, ReplicaNotFound

if TYPE_CHECKING:
    from lading.replica import Replica, ReplicaModel
    from lading.trust.scan import Scan

REPLICA_HEADER = (
    "replica",
    "pattern",
    "model",
    "digest",
    *RUNS_HEADER,
    "state",
    "owner",
    "os",
    "python",
    "onnxruntime",
    "runs",
    "vulnerabilities",
    "seen",
)
_NO_FAILURES: Mapping[str, LadingError] = {}
_NO_SCANS: Mapping[str, Scan] = {}


def find_replica(replicas: Sequence[Replica], text: str) -> Replica:
    """Return the server with this id, else the only one whose id begins with it. Raises `ReplicaNotFound`."""
    # An id may be the beginning of another one: `web-1` and `web-10`.
    exact = [replica for replica in replicas if replica.id == text]
    matching = exact or [replica for replica in replicas if replica.id.startswith(text)]
    if len(matching) == 1:
        return matching[0]
    raise ReplicaNotFound(
        f"server `{text}`",
        expected="one server of the inventory",
        found=", ".join(f"`{replica.id}`" for replica in matching[:5]) or "none",
        hint="see `lading inventory`",
    )


def last_seen(replica: Replica) -> str:
    """Return how long ago the server last sent a heartbeat, and whether it is gone since."""
    state = replica.standing
    prefix = f"{state}, " if state in ("stopped", "gone") else ""
    return f"{prefix}{units.duration(replica.silent_s)} ago"


def replica_json(
    replica: Replica,
    failures: Mapping[str, LadingError] = _NO_FAILURES,
    scans: Mapping[str, Scan] | None = None,
) -> dict[str, object]:
    """Return a server as JSON output has it; `failures` are why servers could not be asked again, by id.

    With `scans`, by digest, it has what is known against it.
    """
    import msgspec

    from lading.trust.running import exposure

    known = {} if scans is None else {"exposure": exposure(replica, scans)}
    failure = {"not_asked": failures[replica.id].message} if replica.id in failures else {}
    return {"standing": replica.standing, **msgspec.structs.asdict(replica), **failure, **known}


def replica_rows(
    replica: Replica,
    failures: Mapping[str, LadingError] = _NO_FAILURES,
    scans: Mapping[str, Scan] = _NO_SCANS,
) -> list[tuple[str, ...]]:
    """Return the rows of a server under `REPLICA_HEADER`: one for each of its models, at least one."""
    from lading.trust.running import exposure

    seen, failure = last_seen(replica), failures.get(replica.id)
    if failure is not None:
        seen += f"; asked again: expected {failure.expected}, found {failure.found}"
    # What a model reported before its server was gone no longer holds.
    state = replica.standing if replica.gone else ""
    is_foreign = replica.pattern == "foreign"
    models = [
        (
            model.title,
            units.short_digest(model.digest),
            *(("", "") if is_foreign else runs_of_model(model).row),
            state or model.state,
            model.owner,
        )
        for model in replica.models
    ]
    # What is gone runs nothing.
    exposures = ["" if replica.gone else exposure(replica, scans, model).text for model in replica.models]
    software = (replica.os, replica.python, replica.onnxruntime, replica.software)
    rows = list(zip(models, exposures, strict=True))
    rows = rows or [(("", "", "", "", state, ""), "" if replica.gone else exposure(replica, scans).text)]
    return [(replica.id, replica.pattern, *model, *software, known, seen) for model, known in rows]


def replica_fields(replica: Replica) -> list[tuple[str, str]]:
    """Return everything about a server but its models and packages, as names and values."""
    providers = ", ".join(replica.providers)
    return [
        ("id", replica.id),
        ("seen", last_seen(replica)),
        ("host", replica.host),
        ("address", " ".join(filter(None, (replica.address, replica.grpc_address)))),
        ("pattern", replica.pattern),
        ("software", replica.software),
        ("image", replica.image or ""),
        ("os", " · ".join(filter(None, (replica.os, replica.kernel, replica.arch)))),
        ("cpus", f"{replica.cpus:g}" if replica.cpus else ""),
        ("memory", units.size(replica.memory_bytes) if replica.memory_bytes else ""),
        ("python", replica.python),
        ("onnxruntime", f"{replica.onnxruntime} ({providers})" if replica.onnxruntime else ""),
        ("runtime", replica.fingerprint),
        ("started", replica.started_at),
        ("stopped", replica.stopped_at),
        ("trust policy", replica.trust_policy if replica.pattern != "foreign" else ""),
        ("settings", ", ".join(f"{name}={value}" for name, value in replica.settings.items())),
    ]


def model_fields(model: ReplicaModel) -> list[tuple[str, str]]:
    """Return a model of a server as names and values."""
    requests = str(model.requests)
    if model.last_request_at:
        requests += f", the last at {model.last_request_at}"
    return [
        ("model", model.title),
        ("digest", model.digest),
        ("state", f"{model.state}: {model.reason}" if model.reason else model.state),
        ("purpose", model.purpose),
        ("owner", model.owner),
        ("input", model.input_format),
        *zip(RUNS_HEADER, runs_of_model(model).row, strict=True),
        ("requests", requests),
    ]


def runs_of_model(model: ReplicaModel) -> Runs:
    """Return what a model of a server runs; of one of an older lading, that it is unknown."""
    return Runs(model.executes, model.environment, model.python)
