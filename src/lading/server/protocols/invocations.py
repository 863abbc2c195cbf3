"""``/invocations`` and ``/ping``, which MLflow's scoring server and SageMaker's containers have in common.

The content type says how the rows are written. The answer is what the framework's own ``predict`` gives:
classes for a classifier, else the primary output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lading.errors import BodyInvalid, MediaTypeRefused
from lading.server.http.messages import Request, Response, Route
from lading.server.inference.dataplane import DataPlane, check_outputs, rows_in
from lading.server.inference.job import Job
from lading.server.inference.version import ServedVersion
from lading.server.protocols import mlflow, sagemaker
from lading.server.protocols.tfs import json_bodies as tfs_json
from lading.signature import Array, Tensor
from lading.signature.csvtext import read_csv

PROTOCOL = "invocations"
_JSON, _CSV = "application/json", "text/csv"


def routes() -> Iterator[Route]:
    """List the shared routes."""
    refuse = mlflow.refuse
    yield Route("GET", "/ping", sagemaker.ping, refuse, PROTOCOL, "200 when every model is ready")
    yield Route("POST", "/invocations", invoke, refuse, PROTOCOL, "Predict, from JSON or CSV", fast=True)


def invoke(request: Request, plane: DataPlane) -> Job:
    """Predict with the default model."""
    served = plane.resolve()
    kind, options = _content_type(request.headers.get(b"content-type", b""))
    params: Mapping[str, Any] = {}
    if kind == _JSON:
        try:
            inputs, params = mlflow.read_json(served.signature, request.body)
        except RecursionError:
            raise BodyInvalid("body", expected="rows", found="values nested too deeply") from None
    else:
        inputs = read_csv(served.signature, request.body, header=_header(options))
    as_csv = sagemaker.wants_csv(request.headers.get(b"accept", b""))
    return job(served, inputs, asked_outputs(served, params), as_csv=as_csv)


def job(
    served: ServedVersion, inputs: Mapping[str, Array], asked: tuple[str, ...] | None, *, as_csv: bool = False
) -> Job:
    """Make the job that answers ``{"predictions": …}``: the outputs asked for, or as `prediction` chooses."""
    names = asked if asked is not None else (prediction(served).name,)
    tensors = [next(one for one in served.signature.outputs if one.name == name) for name in names]

    def encode(outputs: dict[str, Array]) -> Response:
        arrays = {tensor.name: _as_predicted(tensor, outputs[tensor.name]) for tensor in tensors}
        if as_csv:
            return sagemaker.csv_response(list(arrays.values()))
        return Response(tfs_json.row_body(arrays) if _rowed(arrays) else tfs_json.whole_body(arrays))

    return Job(served, inputs, names, encode, rows_in(served, inputs))


def prediction(served: ServedVersion) -> Tensor:
    """Return the output that a framework's ``predict`` gives: the label of a classifier, else the primary."""
    for tensor in served.signature.outputs:
        if tensor.name == "label":
            return tensor
    return served.signature.primary


def asked_outputs(served: ServedVersion, params: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Read the only parameter there is, ``outputs``: the names of the outputs wanted.

    Raises `BodyInvalid` for another parameter: a model that was packed has none, and ignoring one would
    answer another question than was asked.
    """
    for name in params:
        if name != "outputs":
            expected = "no parameter but `outputs`"
            raise BodyInvalid(f"model `{served.label}`", expected=expected, found=f"`{name}`")
    names = params.get("outputs")
    if names is None:
        return None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise BodyInvalid("parameter `outputs`", expected="a list of names", found="something else")
    check_outputs(served, names)
    return tuple(dict.fromkeys(names))


def _as_predicted(tensor: Tensor, array: Array) -> Array:
    """Return one value a row where the output has one, as ``predict`` does."""
    return array.reshape(-1) if tensor.scalar_rows else array


def _rowed(arrays: Mapping[str, Array]) -> bool:
    return all(array.ndim for array in arrays.values()) and len({len(one) for one in arrays.values()}) == 1


def _content_type(header: bytes) -> tuple[str, dict[str, str]]:
    """Read a content type that is spoken here; none at all is taken for JSON."""
    given = header.decode("latin-1")
    kind, *rest = (part.strip() for part in given.split(";"))
    kind = kind.lower() or _JSON
    options = {
        key.strip().lower(): value.strip('" ').lower()
        for key, _, value in (one.partition("=") for one in rest)
    }
    if kind not in (_JSON, _CSV):
        raise MediaTypeRefused(
            "This predictor only supports the following content types: "
            f"Types: ['{_CSV}', '{_JSON}']. Got '{given}'."
        )
    if options.get("charset", "utf-8") not in ("utf-8", "utf8"):
        raise MediaTypeRefused("The scoring server only supports UTF-8")
    known = {"charset", "header", "label_size"} if kind == _CSV else {"charset"}
    unknown = [name for name in options if name not in known]
    if unknown:
        raise MediaTypeRefused(f"Unrecognized content type parameters: {', '.join(unknown)}.")
    return kind, options


def _header(options: Mapping[str, str]) -> bool | None:
    """Read what a content type says of the header row (RFC 4180), and that there is no label column."""
    if options.get("label_size", "0") != "0":
        raise BodyInvalid(
            "`label_size`", expected="0: rows without labels", found=f"`{options['label_size']}`"
        )
    given = options.get("header")
    if given is None:
        return None
    if given not in ("present", "absent"):
        raise BodyInvalid("`header`", expected="`present` or `absent`", found=f"`{given}`")
    return given == "present"
