"""What a server tells about its models in plain JSON: health, metadata, labels, versions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from lading.errors import LabelsNotFound
from lading.server.http.messages import Request, Response, json_response
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.readiness import NotReady, obstacle_among
from lading.server.inference.version import ServedVersion
from lading.server.protocols.native.json_values import dumps, first_expected, first_sample, sample_rows
from lading.server.protocols.native.routing import find, resolve
from lading.signature import Array, Tensor


def health(_request: Request, plane: DataPlane) -> Response:
    """Say whether every model answers; 503 and the reason where one does not."""
    everything = [served for versions in plane.models.values() for served in versions]
    return _health(everything, plane.readiness.obstacle(), plane)


def model_health(request: Request, plane: DataPlane) -> Response:
    """Say whether this version is ready."""
    served = find(request, plane)
    return _health([served], obstacle_among([served]), plane)


def _health(versions: Sequence[ServedVersion], obstacle: NotReady | None, plane: DataPlane) -> Response:
    shown: dict[str, Any] = {
        "models": [{"name": one.name, "version": one.version, "state": one.state.word} for one in versions]
    }
    if plane.worker:
        shown["worker"] = plane.worker  # Each worker speaks for itself.
    unreachable_since = plane.readiness.catalog_unreachable_since
    if unreachable_since is not None:
        outage_s = time.time() - unreachable_since
        shown["catalog"] = f"unreachable for {outage_s:.0f} s; still serving what is loaded"
    if obstacle is not None:
        return json_response({"health": obstacle.health, "reason": obstacle.reason, **shown}, 503)
    return json_response({"health": "ok", **shown})


def metadata(request: Request, plane: DataPlane) -> Response:
    """State dtypes, shapes and a sample, all read from the bundle; the first keys are the book's."""
    served = resolve(request, plane)
    inputs, outputs = served.signature.inputs, served.signature.outputs
    primary = served.signature.primary
    sample, expected = first_sample(served), first_expected(served)
    single = len(inputs) == 1
    row = sample_rows(served, sample)
    body = {
        "data_type": inputs[0].dtype if single else {one.name: one.dtype for one in inputs},
        "data_structure": _structure(sample[inputs[0].name])
        if single
        else {one.name: _structure(sample[one.name]) for one in inputs},
        "data_sample": row,
        "prediction_type": primary.dtype,
        "prediction_structure": _structure(expected[primary.name]),
        "prediction_sample": expected[primary.name][0] if primary.batched else expected[primary.name],
        "name": served.name,
        "version": served.version,
        "digest": served.digest,
        "inputs": [_tensor(one) for one in inputs],
        "outputs": [_tensor(one) for one in outputs],
    }
    return Response(dumps(body))


def label(request: Request, plane: DataPlane) -> Response:
    """Return the labels by class."""
    served = resolve(request, plane)
    if not served.labels:
        raise LabelsNotFound(f"model `{served.label}`", expected="labels in its bundle", found="none")
    return json_response(dict(served.labels))


def list_models(_request: Request, plane: DataPlane) -> Response:
    """List every version here, in whatever state."""
    everything = [_summary(one, plane) for versions in plane.models.values() for one in versions]
    return json_response({"models": everything})


def show_model(request: Request, plane: DataPlane) -> Response:
    """Show one model: what it is, what goes in and out, and its versions here."""
    served = find(request, plane)
    shown = _summary(served, plane)
    if served.is_opened:
        manifest = served.manifest
        shown |= {
            "description": manifest.description,
            "labels": manifest.labels,
            "metrics": manifest.metrics,
            "tolerance": manifest.tolerance,
            "expected_from": manifest.expected_from,
            "signature": manifest.signature,
        }
    shown["versions"] = [
        {"version": one.version, "digest": one.digest, "state": one.state.word, "reason": one.reason}
        for one in plane.versions(served.name)
    ]
    return json_response(shown)


def _summary(served: ServedVersion, plane: DataPlane) -> dict[str, Any]:
    known = served.is_opened
    return {
        "name": served.name,
        "version": served.version,
        "digest": served.digest,
        "state": served.state.word,
        "default": served.name == plane.default_model,
        "purpose": served.manifest.purpose if known else "",
        "owner": served.manifest.owner if known else "",
    }


def _structure(array: Array) -> str:
    return f"({','.join(str(size) for size in array.shape)})"


def _tensor(tensor: Tensor) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}
    if tensor.columns:
        shown["columns"] = list(tensor.columns)
    if tensor.allows_nan:
        shown["allows_nan"] = True
    return shown
