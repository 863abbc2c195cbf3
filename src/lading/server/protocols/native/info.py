"""What a server states about its models in plain JSON: health, metadata, labels, versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lading.access import FACTS
from lading.errors import LabelsNotFound
from lading.server.http.messages import Request, Response, json_response
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.readiness import NotReady, obstacle_among
from lading.server.inference.version import ServedVersion
from lading.server.protocols.native.json_values import dumps, first_expected, first_sample, sample_rows
from lading.server.protocols.native.routing import find, resolve
from lading.signature import Array, Tensor


def health(_request: Request, plane: DataPlane) -> Response:
    """Answer whether every model is ready; 503 and the reason if one is not."""
    versions = [served for versions in plane.models.values() for served in versions]
    return _health(versions, plane.readiness.obstacle(), plane)


def model_health(request: Request, plane: DataPlane) -> Response:
    """Answer whether this version is ready."""
    served = find(request, plane)
    return _health([served], obstacle_among([served]), plane)


def _health(versions: Sequence[ServedVersion], obstacle: NotReady | None, plane: DataPlane) -> Response:
    details: dict[str, Any] = {
        "models": [
            {"name": version.name, "version": version.version, "state": version.state.word}
            for version in versions
        ]
    }
    if plane.worker:
        details["worker"] = plane.worker  # Each worker answers for itself alone.
    trouble = plane.readiness.catalog_trouble()
    if trouble:
        details["catalog"] = f"{trouble}; still serving what is loaded"
    if obstacle is not None:
        return json_response({"health": obstacle.health, "reason": obstacle.reason, **details}, 503)
    return json_response({"health": "ok", **details})


def metadata(request: Request, plane: DataPlane) -> Response:
    """Answer dtypes, shapes and a sample, all read from the bundle."""
    served = resolve(request, plane)
    inputs, outputs = served.signature.inputs, served.signature.outputs
    primary = served.signature.primary
    sample, expected = first_sample(served), first_expected(served)
    single = len(inputs) == 1
    body = {
        # The names of the keys down to `prediction_sample` predate the native protocol; clients rely on them.
        "data_type": inputs[0].dtype if single else {tensor.name: tensor.dtype for tensor in inputs},
        "data_structure": _structure(sample[inputs[0].name])
        if single
        else {tensor.name: _structure(sample[tensor.name]) for tensor in inputs},
        "data_sample": sample_rows(served, sample),
        "prediction_type": primary.dtype,
        "prediction_structure": _structure(expected[primary.name]),
        "prediction_sample": expected[primary.name][0] if primary.batched else expected[primary.name],
        "name": served.name,
        "version": served.version,
        "digest": served.digest,
        "inputs": [_tensor(tensor) for tensor in inputs],
        "outputs": [_tensor(tensor) for tensor in outputs],
    }
    return Response(dumps(body))


def label(request: Request, plane: DataPlane) -> Response:
    """Answer the labels by class."""
    served = resolve(request, plane)
    if not served.labels:
        raise LabelsNotFound(f"model `{served.label}`", expected="labels in its bundle", found="none")
    return json_response(dict(served.labels))


def list_models(request: Request, plane: DataPlane) -> Response:
    """List every version of this server, in whatever state, of the models that the caller may see."""
    caller = request.caller
    summaries = [
        _summary(version, plane)
        for name, versions in plane.models.items()
        if caller is None or caller.may(FACTS, name)
        for version in versions
    ]
    return json_response({"models": summaries})


def show_model(request: Request, plane: DataPlane) -> Response:
    """Describe one model: its manifest, its signature, and its versions on this server."""
    served = find(request, plane)
    description = _summary(served, plane)
    if served.is_opened:
        manifest = served.manifest
        description |= {
            "description": manifest.description,
            "labels": manifest.labels,
            "metrics": manifest.metrics,
            "tolerance": manifest.tolerance,
            "expected_from": manifest.expected_from,
            "signature": manifest.signature,
        }
    description["versions"] = [
        {
            "version": version.version,
            "digest": version.digest,
            "state": version.state.word,
            "reason": version.reason,
        }
        for version in plane.versions(served.name)
    ]
    return json_response(description)


def _summary(served: ServedVersion, plane: DataPlane) -> dict[str, Any]:
    opened = served.is_opened  # A version that is still loading has no manifest yet.
    return {
        "name": served.name,
        "version": served.version,
        "digest": served.digest,
        "state": served.state.word,
        "default": served.name == plane.default_model,
        "purpose": served.manifest.purpose if opened else "",
        "owner": served.manifest.owner if opened else "",
    }


def _structure(array: Array) -> str:
    # `(1,4)`: numpy's way without its spaces and its last comma.
    return f"({','.join(str(size) for size in array.shape)})"


def _tensor(tensor: Tensor) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}
    if tensor.columns:
        fields["columns"] = list(tensor.columns)
    if tensor.allows_nan:
        fields["allows_nan"] = True
    if tensor.nan_columns:
        fields["nan_columns"] = list(tensor.nan_columns)
    return fields
