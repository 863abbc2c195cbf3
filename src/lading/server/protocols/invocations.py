"""``/invocations`` and ``/ping``, which MLflow's scoring server and SageMaker's containers have in common.

The content type states how the rows are encoded. The answer is that of the framework's own ``predict``:
classes for a classifier, else the primary output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lading.access import OPEN, PREDICTION
from lading.errors import BodyInvalid, MediaTypeRefused
from lading.server.http.messages import Request, Response, Route
from lading.server.inference.dataplane import DataPlane, check_outputs, rows_in
from lading.server.inference.job import Job
from lading.server.inference.version import ServedVersion
from lading.server.protocols import mlflow, sagemaker
from lading.server.protocols.tfs import json_bodies
from lading.signature import Array, Tensor
from lading.signature.csvtext import read_csv

PROTOCOL = "invocations"
_JSON, _CSV = "application/json", "text/csv"
_KINDS = (_CSV, _JSON, sagemaker.LINES, sagemaker.NPY)


def routes() -> Iterator[Route]:
    """List the shared routes."""
    refuse = mlflow.refuse
    summary = "200 when every model is ready"
    yield Route("GET", "/ping", sagemaker.ping, refuse, PROTOCOL, summary, rule=OPEN)
    yield Route(
        "POST",
        "/invocations",
        invoke,
        refuse,
        PROTOCOL,
        "Predict, from JSON, CSV, JSON lines or NumPy",
        fast=True,
        any_type=True,
        rule=PREDICTION,
    )


def invoke(request: Request, plane: DataPlane) -> Job:
    """Predict with the default model."""
    served = plane.resolve()
    request.leave_loop()
    kind, options = _content_type(request.headers.get(b"content-type", b""))
    params: Mapping[str, Any] = {}
    if kind == _JSON:
        try:
            inputs, params = mlflow.read_json(served.signature, request.body)
        except RecursionError:
            raise BodyInvalid("body", expected="rows", found="values nested too deeply") from None
    elif kind == _CSV:
        inputs = read_csv(served.signature, request.body, header=_header(options), leave_out=True)
    else:
        inputs = sagemaker.READERS[kind](served.signature, request.body)
    write = sagemaker.writer(request.headers.get(b"accept", b""))
    return job(served, inputs, output_names(served, params), write=write)


def job(
    served: ServedVersion,
    inputs: Mapping[str, Array],
    names: tuple[str, ...] | None,
    *,
    write: sagemaker.Write | None = None,
) -> Job:
    """Return the job that answers with the outputs called `names`, by `write` or as ``{"predictions": …}``.

    `names` None stands for the output that the framework's ``predict`` returns.
    """
    if names is None:
        names = (predicted_output(served).name,)
    known = {output.name: output for output in served.signature.outputs}
    tensors = [known[name] for name in names]

    def encode(outputs: dict[str, Array]) -> Response:
        arrays = {tensor.name: _as_predicted(tensor, outputs[tensor.name]) for tensor in tensors}
        if write is not None:
            return write(list(arrays.values()))
        write_json = json_bodies.row_body if _have_equal_rows(arrays) else json_bodies.whole_body
        return Response(write_json(arrays))

    return Job(served, inputs, names, encode, rows_in(served, inputs))


def predicted_output(served: ServedVersion) -> Tensor:
    """Return the output that a framework's ``predict`` returns: a classifier's label, else the primary."""
    for tensor in served.signature.outputs:
        if tensor.name == "label":
            return tensor
    return served.signature.primary


def output_names(served: ServedVersion, params: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the names in the only parameter, ``outputs``, or None without it; raises `BodyInvalid`."""
    for name in params:
        # A packed model has no parameters; to ignore one would answer a question that nobody asked.
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
    """Flatten an output with one value per row, as ``predict`` returns it."""
    return array.reshape(-1) if tensor.scalar_rows else array  # [batch, 1] -> [batch]


def _have_equal_rows(arrays: Mapping[str, Array]) -> bool:
    return (
        all(array.ndim for array in arrays.values()) and len({len(array) for array in arrays.values()}) == 1
    )


def _content_type(header: bytes) -> tuple[str, dict[str, str]]:
    """Return the media type and its parameters; a request without a content type is taken for JSON."""
    text = header.decode("latin-1")
    kind, *parts = (part.strip() for part in text.split(";"))
    kind = sagemaker.ALIASES.get(kind.lower(), kind.lower()) or _JSON
    options = {
        key.strip().lower(): value.strip('" ').lower()
        for key, _, value in (part.partition("=") for part in parts)
    }
    # The sentences below are those of MLflow's scoring server, which its clients show.
    if kind not in _KINDS:
        raise MediaTypeRefused(
            f"This predictor only supports the following content types: Types: {list(_KINDS)}. Got '{text}'."
        )
    if options.get("charset", "utf-8") not in ("utf-8", "utf8"):
        raise MediaTypeRefused("The scoring server only supports UTF-8")
    known = {"charset", "header", "label_size"} if kind == _CSV else {"charset"}
    unknown = [name for name in options if name not in known]
    if unknown:
        raise MediaTypeRefused(f"Unrecognized content type parameters: {', '.join(unknown)}.")
    return kind, options


def _header(options: Mapping[str, str]) -> bool | None:
    """Return what the content type states about a header row (RFC 4180), or None if it states nothing."""
    # SageMaker's parameter: how many columns before the features are labels. A request has none to give.
    if options.get("label_size", "0") != "0":
        raise BodyInvalid(
            "`label_size`", expected="0: rows without labels", found=f"`{options['label_size']}`"
        )
    header = options.get("header")
    if header is None:
        return None
    if header not in ("present", "absent"):
        raise BodyInvalid("`header`", expected="`present` or `absent`", found=f"`{header}`")
    return header == "present"
