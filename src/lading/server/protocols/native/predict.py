"""Predictions in plain JSON: ``{"data": [[…]]}`` in, ``{"prediction": [[…]]}`` or the labels out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from lading.errors import BodyInvalid, LabelsNotFound
from lading.server.codecs.rows import quick_reader
from lading.server.http.messages import Request, Response
from lading.server.inference.dataplane import DataPlane, check_outputs, rows_in
from lading.server.inference.job import Job
from lading.server.inference.version import ServedVersion
from lading.server.protocols import DECODE_ERRORS, decode_error_text
from lading.server.protocols.native.json_values import dumps, first_sample
from lading.server.protocols.native.routing import resolve
from lading.signature import Array, label_output, named_labels


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    data: Any
    outputs: tuple[str, ...] | None = None


# Keys of `LoadedModel.plans`: tuples of constants, so that no key is built per request.
_FLAT, _BY_ROW = ("native", "flat"), ("native", "by row")
_decoder = msgspec.json.Decoder(_Body)


class _Plan:
    """What is prepared once per version: the reader of its bodies and the writer of its answers."""

    __slots__ = ("_flat", "_quick", "names", "served")

    def __init__(self, served: ServedVersion, *, flat: bool) -> None:
        primary = served.signature.primary
        self.served = served
        self.names = (primary.name,)
        self._quick = quick_reader(served.signature)
        self._flat = flat and primary.batched

    def job(self, request: Request) -> Job:
        """Read the body of `request`; raises `InputError`."""
        served = self.served
        if self._quick is None:
            return self._general_job(request)
        try:
            inputs, rows, names = self._quick(request.body)
        except DECODE_ERRORS:
            # The quick reader has no words for what is wrong; the general one has, or takes the body.
            return self._general_job(request)
        return self.job_of(inputs, rows) if names is None else _named_job(served, inputs, rows, names)

    def job_of(self, inputs: dict[str, Array], rows: int) -> Job:
        """Return the job that computes the primary output."""
        # Bound methods instead of closures: they are made once, not per request.
        encode = self._encode_flat if self._flat and rows == 1 else self._encode
        return Job(self.served, inputs, self.names, encode, rows)

    def _general_job(self, request: Request) -> Job:
        """Read any body: rows as objects, several inputs, or one that is wrong and whose error is named."""
        request.leave_loop()
        read = _read(request.body)
        inputs = self.served.signature.cast_rows(read.data)
        rows = rows_in(self.served, inputs)
        if read.outputs is None:
            return self.job_of(inputs, rows)
        return _named_job(self.served, inputs, rows, read.outputs)

    def _encode(self, outputs: dict[str, Array]) -> Response:
        return Response(b'{"prediction":%b}' % dumps(outputs[self.names[0]]))

    def _encode_flat(self, outputs: dict[str, Array]) -> Response:
        return Response(b'{"prediction":%b}' % dumps(outputs[self.names[0]][0]))


def _plan(served: ServedVersion, form: tuple[str, str]) -> _Plan:
    model = served.loaded
    assert model is not None  # `resolve` returns no version that is not loaded.
    plan: _Plan | None = model.plans.get(form)
    if plan is None:
        plan = model.plans[form] = _Plan(served, flat=form is _FLAT)
    return plan


def predictor(*, flat: bool) -> Callable[[Request, DataPlane], Job]:
    """Return the handler that predicts the rows of a body; with `flat`, one row in gives one flat row out."""
    form = _FLAT if flat else _BY_ROW

    def predict(request: Request, plane: DataPlane) -> Job:
        served = resolve(request, plane)
        # `_plan` in place for all requests but the first: every request passes.
        plan: _Plan = served.loaded.plans.get(form) or _plan(served, form)  # type: ignore[union-attr]  # loaded
        return plan.job(request)

    return predict


def label_predictor(*, flat: bool) -> Callable[[Request, DataPlane], Job]:
    """Return the handler that answers the names of the predicted classes."""

    def predict_label(request: Request, plane: DataPlane) -> Job:
        served = resolve(request, plane)
        request.leave_loop()
        body = _read(request.body)
        if body.outputs is not None:
            raise BodyInvalid("`$.outputs`", expected="no outputs asked of `/predict/label`", found="some")
        return _label_job(served, served.signature.cast_rows(body.data), flat=flat)

    return predict_label


def sample_predictor(*, flat: bool) -> Callable[[Request, DataPlane], Job]:
    """Return the handler that predicts the first golden sample."""

    def predict_test(request: Request, plane: DataPlane) -> Job:
        served = resolve(request, plane)
        return _plan(served, _FLAT if flat else _BY_ROW).job_of(first_sample(served), 1)

    return predict_test


def sample_label_predictor(*, flat: bool) -> Callable[[Request, DataPlane], Job]:
    """Return the handler that answers the name of the class predicted for the first golden sample."""

    def predict_test_label(request: Request, plane: DataPlane) -> Job:
        served = resolve(request, plane)
        return _label_job(served, first_sample(served), flat=flat)

    return predict_test_label


def _named_job(served: ServedVersion, inputs: dict[str, Array], rows: int, names: tuple[str, ...]) -> Job:
    """Return the job that computes the outputs a body names."""
    if not names:
        # An empty list would compute nothing; a client that wants the default leaves the key out.
        raise BodyInvalid("`$.outputs`", expected="names of outputs, or no `outputs` at all", found="none")
    check_outputs(served, names)

    def encode(outputs: dict[str, Array]) -> Response:
        return Response(dumps({"outputs": {name: outputs[name] for name in names}}))

    return Job(served, inputs, names, encode, rows)


def _label_job(served: ServedVersion, inputs: dict[str, Array], *, flat: bool) -> Job:
    rows = rows_in(served, inputs)
    tensor = label_output(served.signature.outputs)
    if tensor is None:
        names = ", ".join(f"`{output.name}`" for output in served.signature.outputs)
        raise LabelsNotFound(f"model `{served.label}`", expected="an output `label`", found=names)

    def encode(outputs: dict[str, Array]) -> Response:
        labels = named_labels(tensor, outputs[tensor.name], served.labels)
        is_flat = flat and rows == 1 and tensor.batched
        return Response(dumps({"prediction": labels[0] if is_flat else labels}))

    return Job(served, inputs, (tensor.name,), encode, rows)


def _read(body: bytes) -> _Body:
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise BodyInvalid(f"body: {decode_error_text(error)}", hint='send `{"data": [[…]]}`') from None
    except DECODE_ERRORS as error:
        raise BodyInvalid(f"body: {decode_error_text(error)}", hint='send JSON: `{"data": [[…]]}`') from None
