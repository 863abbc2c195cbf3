"""The book's API at the root and the native one under ``/models``: plain JSON for people and scripts.

At the root one row in gives one flat row out, as the book's clients expect; under ``/models`` there is
always one result a row. Everything said about a model is read from its bundle.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import orjson

from lading.errors import BodyInvalid, InvalidReference, LabelsNotFound, LadingError, continued
from lading.ref import version_number
from lading.server.dataplane import DataPlane, check_outputs, rows_in
from lading.server.http import Request, Response, Route, json_response
from lading.server.job import Job
from lading.server.lookup import nothing_loaded
from lading.server.protocols import error_headers, status_of
from lading.server.protocols.rows import quick_reader
from lading.server.states import Served, State
from lading.signature import Array, Tensor

PROTOCOL = "native"
_PLACES = ("/models/{name}", "/models/{name}/versions/{version}", "/models/{name}/tags/{tag}", "")


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    data: Any
    outputs: tuple[str, ...] | None = None


_FLAT, _ROWS = ("book", "flat"), ("book", "rows")
_decoder = msgspec.json.Decoder(_Body)


def routes() -> Iterator[Route]:
    """List the routes of this protocol."""

    def route(method: str, pattern: str, handler: Any, summary: str) -> Route:
        return Route(method, pattern, handler, refuse, PROTOCOL, summary, hot=method == "POST")

    for place in _PLACES:
        flat = place == ""
        yield route("POST", f"{place}/predict", _predict(flat=flat), "Predict")
        yield route("POST", f"{place}/predict/label", _predict_label(flat=flat), "Predict, by label")
        yield route(
            "GET", f"{place}/predict/test", _predict_test(flat=flat), "Predict the first golden sample"
        )
        yield route(
            "GET", f"{place}/predict/test/label", _predict_test_label(flat=flat), "The same, by label"
        )
        yield route("GET", f"{place}/metadata", metadata, "What goes in and what comes out")
        yield route("GET", f"{place}/label", label, "The labels")
        yield route(
            "GET", f"{place}/health", health if flat else model_health, "Whether it is ready, and why not"
        )
    yield route("GET", "/models", list_models, "The models here")
    for place in _PLACES[:3]:
        yield route("GET", place, show_model, "One model")


def refuse(error: LadingError) -> Response:
    """Answer an error: one sentence, its name, and the hint if there is one."""
    body = {"error": error.message, "code": type(error).__name__}
    if error.hint:
        body["hint"] = error.hint
    response = json_response(body, status_of(error))
    response.headers = error_headers(error)
    return response


class _Plan:
    """What is prepared once for a version: how its bodies are read and its answers written."""

    __slots__ = ("_flat", "_quick", "names", "served")

    def __init__(self, served: Served, *, flat: bool) -> None:
        primary = served.signature.primary
        self.served = served
        self.names = (primary.name,)
        self._quick = quick_reader(served.signature)
        self._flat = flat and primary.batched

    def job(self, body: bytes) -> Job:
        """Read a body; raises `InputError`."""
        served = self.served
        if self._quick is not None:
            try:
                inputs, rows, asked = self._quick(body)
            except ValueError:  # msgspec's errors are ValueErrors, numpy's for ragged rows too.
                return self._slow_job(body)
        else:
            return self._slow_job(body)
        return self.job_of(inputs, rows) if asked is None else _asked_job(served, inputs, rows, asked)

    def job_of(self, inputs: dict[str, Array], rows: int) -> Job:
        """Make the job for the primary output."""
        encode = self._encode_flat if self._flat and rows == 1 else self._encode
        return Job(self.served, inputs, self.names, encode, rows)

    def _slow_job(self, body: bytes) -> Job:
        """Read what the typed way does not: objects, several inputs; and find the words for what is wrong."""
        read = _read(body)
        inputs = self.served.signature.cast_rows(read.data)
        rows = rows_in(self.served, inputs)
        return (
            self.job_of(inputs, rows)
            if read.outputs is None
            else _asked_job(self.served, inputs, rows, read.outputs)
        )

    def _encode(self, outputs: dict[str, Array]) -> Response:
        return Response(b'{"prediction":%b}' % dumps(outputs[self.names[0]]))

    def _encode_flat(self, outputs: dict[str, Array]) -> Response:
        return Response(b'{"prediction":%b}' % dumps(outputs[self.names[0]][0]))


def _plan(served: Served, *, flat: bool) -> _Plan:
    plan: _Plan | None = served.plans.get(_FLAT if flat else _ROWS)
    if plan is None:
        plan = served.plans[_FLAT if flat else _ROWS] = _Plan(served, flat=flat)
    return plan


def _predict(*, flat: bool) -> Callable[[Request, DataPlane], Job]:
    def predict(request: Request, plane: DataPlane) -> Job:
        return _plan(_resolve(request, plane), flat=flat).job(request.body)

    return predict


def _predict_label(*, flat: bool) -> Callable[[Request, DataPlane], Job]:
    def predict_label(request: Request, plane: DataPlane) -> Job:
        served = _resolve(request, plane)
        body = _read(request.body)
        if body.outputs is not None:
            raise BodyInvalid("`$.outputs`", expected="no outputs asked of `/predict/label`", found="some")
        return _label_job(served, served.signature.cast_rows(body.data), flat=flat)

    return predict_label


def _predict_test(*, flat: bool) -> Callable[[Request, DataPlane], Job]:
    def predict_test(request: Request, plane: DataPlane) -> Job:
        served = _resolve(request, plane)
        return _plan(served, flat=flat).job_of(_first_sample(served), 1)

    return predict_test


def _predict_test_label(*, flat: bool) -> Callable[[Request, DataPlane], Job]:
    def predict_test_label(request: Request, plane: DataPlane) -> Job:
        served = _resolve(request, plane)
        return _label_job(served, _first_sample(served), flat=flat)

    return predict_test_label


def _asked_job(served: Served, inputs: dict[str, Array], rows: int, asked: tuple[str, ...]) -> Job:
    if not asked:
        raise BodyInvalid("`$.outputs`", expected="names of outputs, or no `outputs` at all", found="none")
    check_outputs(served, asked)

    def encode(outputs: dict[str, Array]) -> Response:
        return Response(dumps({"outputs": {name: outputs[name] for name in asked}}))

    return Job(served, inputs, asked, encode, rows)


def _label_job(served: Served, inputs: dict[str, Array], *, flat: bool) -> Job:
    rows = rows_in(served, inputs)
    tensor = label_output(served)

    def encode(outputs: dict[str, Array]) -> Response:
        names = named_labels(served, tensor, outputs[tensor.name])
        return Response(dumps({"prediction": names[0] if flat and rows == 1 and tensor.batched else names}))

    return Job(served, inputs, (tensor.name,), encode, rows)


def label_output(served: Served) -> Tensor:
    """Give the output that tells the label; raises `LabelsNotFound` where the model has none."""
    outputs = {tensor.name: tensor for tensor in served.signature.outputs}
    for name in ("label", "probabilities", "scores"):
        if name in outputs and (name == "label" or outputs[name].columns):
            return outputs[name]
    raise LabelsNotFound(
        f"model `{served.label}`",
        expected="an output `label`",
        found=", ".join(f"`{name}`" for name in outputs),
    )


def named_labels(served: Served, tensor: Tensor, values: Array) -> Any:
    """Turn classes (or scores by class) into the names that the bundle gives them."""
    if tensor.name != "label":
        values = np.array(tensor.columns, dtype=object)[values.argmax(axis=-1)]

    def name(value: Any) -> Any:
        return (
            [name(one) for one in value] if isinstance(value, list) else served.labels.get(str(value), value)
        )

    return name(values.tolist())


def _read(body: bytes) -> _Body:
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise BodyInvalid(f"body: {continued(str(error))}", hint='send `{"data": [[…]]}`') from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise BodyInvalid(f"body: {continued(str(error))}", hint='send JSON: `{"data": [[…]]}`') from None


def dumps(value: Any) -> bytes:
    """Write a value that holds numpy arrays as JSON; NaN becomes `null`."""
    return orjson.dumps(value, _plain, orjson.OPT_SERIALIZE_NUMPY)


def _plain(value: Any) -> Any:
    # orjson leaves to us what it does not write by itself: strings, strided arrays and numpy scalars.
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(type(value).__name__)


def health(_request: Request, plane: DataPlane) -> Response:
    """Say whether every model answers; 503 and the reason where one does not."""
    everything = [served for versions in plane.models.values() for served in versions]
    return _health(everything, plane.deciding(), plane)


def model_health(request: Request, plane: DataPlane) -> Response:
    """Say whether this version is ready."""
    served = _find(request, plane)
    return _health([served], [served], plane)


def _health(everything: Sequence[Served], deciding: Sequence[Served], plane: DataPlane) -> Response:
    shown: dict[str, Any] = {
        "models": [{"name": one.name, "version": one.version, "state": one.state.word} for one in everything]
    }
    if plane.worker:
        shown["worker"] = plane.worker  # Each worker speaks for itself.
    if plane.away_since is not None:
        shown["catalog"] = f"away for {time.time() - plane.away_since:.0f} s; serving on with what is loaded"
    for state, word in (
        (State.FAILED, "failed"),
        (State.LOADING, "loading"),
        (State.WARMING, "loading"),
        (State.DRAINING, "draining"),
    ):
        for one in deciding:
            if one.state is state:
                reason = one.reason or f"`{one.label}` is {one.state.word}"
                return json_response({"health": word, "reason": reason, **shown}, 503)
    if not everything:
        return json_response({"health": "empty", "reason": nothing_loaded(plane.waiting), **shown}, 503)
    return json_response({"health": "ok", **shown})


def metadata(request: Request, plane: DataPlane) -> Response:
    """State dtypes, shapes and a sample, all read from the bundle; the first keys are the book's."""
    served = _resolve(request, plane)
    inputs, outputs = served.signature.inputs, served.signature.outputs
    primary = served.signature.primary
    sample, expected = _first_sample(served), _first_expected(served)
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
    """Give the labels by class."""
    served = _resolve(request, plane)
    if not served.labels:
        raise LabelsNotFound(f"model `{served.label}`", expected="labels in its bundle", found="none")
    return json_response(dict(served.labels))


def list_models(_request: Request, plane: DataPlane) -> Response:
    """List every version here, in whatever state."""
    everything = [_summary(one, plane) for versions in plane.models.values() for one in versions]
    return json_response({"models": everything})


def show_model(request: Request, plane: DataPlane) -> Response:
    """Show one model: what it is, what goes in and out, and its versions here."""
    served = _find(request, plane)
    shown = _summary(served, plane)
    if served.bundle is not None:
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


def _summary(served: Served, plane: DataPlane) -> dict[str, Any]:
    known = served.bundle is not None
    return {
        "name": served.name,
        "version": served.version,
        "digest": served.digest,
        "state": served.state.word,
        "default": served.name == plane.default_model,
        "purpose": served.manifest.purpose if known else "",
        "owner": served.manifest.owner if known else "",
    }


@dataclass(frozen=True, slots=True)
class _Address:
    name: str | None = None
    version: int | None = None
    tag: str | None = None


_ROOT = _Address()


def _address(request: Request) -> _Address:
    if not request.params:
        return _ROOT
    version = request.params.get("version")
    number = version_number(version) if version is not None else None
    if version is not None and number is None:
        raise InvalidReference(f"`{request.path}`", expected="a version number", found=f"`{version}`")
    return _Address(request.params.get("name"), number, request.params.get("tag"))


def _resolve(request: Request, plane: DataPlane) -> Served:
    params = request.params
    if "version" not in params and "tag" not in params:
        return plane.resolve(params.get("name"))
    where = _address(request)
    return plane.resolve(where.name, where.version, where.tag)


def _find(request: Request, plane: DataPlane) -> Served:
    where = _address(request)
    return plane.find(where.name, where.version, where.tag)


def _first_sample(served: Served) -> dict[str, Array]:
    inputs = served.signature.inputs
    return {one.name: _first(one, served.samples.inputs[one.name]) for one in inputs}


def _first_expected(served: Served) -> dict[str, Array]:
    outputs = served.signature.outputs
    return {one.name: _first(one, served.samples.outputs[one.name]) for one in outputs}


def _first(tensor: Tensor, array: Array) -> Array:
    return array[:1] if tensor.batched else array


def sample_rows(served: Served, sample: dict[str, Array]) -> Any:
    """Write sample inputs as the value of ``data``: rows as lists, or as objects where inputs have names."""
    inputs = served.signature.inputs
    if not all(one.batched for one in inputs):
        return sample
    if len(inputs) == 1:
        return sample[inputs[0].name]
    rows = len(sample[inputs[0].name])
    return [{one.name: _cell(one, sample[one.name][at]) for one in inputs} for at in range(rows)]


def _cell(tensor: Tensor, value: Any) -> Any:
    return (
        np.asarray(value, dtype=tensor.numpy_dtype).reshape(-1).tolist()[0] if tensor.scalar_rows else value
    )


def _structure(array: Array) -> str:
    return f"({','.join(str(size) for size in array.shape)})"


def _tensor(tensor: Tensor) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}
    if tensor.columns:
        shown["columns"] = list(tensor.columns)
    if tensor.allows_nan:
        shown["allows_nan"] = True
    return shown
