"""True labels of answers, sent later: the source of a release's online accuracy.

The sender names the request by the ``x-request-id`` that the answer carried. Feedback on the answer of
another process is passed on through the catalog; feedback on an answer that no process remembers is not
counted, and forgotten. Everything that a sender chooses has a limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from lading.access import PREDICTION
from lading.errors import BodyInvalid, BodyTooLarge, NotSupported
from lading.server.http.messages import Request, Response, Route, json_response
from lading.server.inference.dataplane import DataPlane
from lading.server.protocols import DECODE_ERRORS, decode_error_text, native

PROTOCOL = "feedback"
LARGEST_BODY_BYTES = 1024 * 1024
LONGEST_ID = 128
LONGEST_LABEL = 256


class _Feedback(msgspec.Struct, forbid_unknown_fields=True):
    request_id: str
    label: Any


_decoder = msgspec.json.Decoder(_Feedback)


def routes() -> Iterator[Route]:
    """List the routes of this protocol."""
    yield Route(
        "POST",
        "/models/{name}/feedback",
        feedback,
        native.refuse,
        PROTOCOL,
        "Report the true label of an answer",
        changes_state=True,
        rule=PREDICTION,
    )


def feedback(request: Request, plane: DataPlane) -> Response:
    """Accept the true label of an answer by its name, as `/predict/label` has it; a list for several rows."""
    name = request.params["name"]
    plane.versions(name)  # Raises `ModelNotFound` before the body is read.
    if len(request.body) > LARGEST_BODY_BYTES:
        expected = f"at most {LARGEST_BODY_BYTES} bytes"
        raise BodyTooLarge("feedback", expected=expected, found=f"{len(request.body)}")
    try:
        body = _decoder.decode(request.body)
    except DECODE_ERRORS as error:
        raise BodyInvalid(
            "body",
            expected="a request's id and its label",
            found=decode_error_text(error),
            hint='send `{"request_id": "…", "label": "setosa"}`',
        ) from None
    request_id = body.request_id.encode()
    if len(request_id) > LONGEST_ID:
        expected = f"at most {LONGEST_ID} bytes, as `x-request-id` has"
        raise BodyInvalid("`$.request_id`", expected=expected, found=f"{len(request_id)}")
    labels = body.label if isinstance(body.label, list) else [body.label]
    texts = tuple(_text(label) for label in labels)
    counted: str
    if plane.observer is not None and name in plane.traffic:
        counted = plane.observer.add_feedback(name, request_id, texts)
        if plane.log_labels is not None:
            plane.log_labels(name, request_id, texts)
    elif plane.log_labels is not None:
        counted = "logged" if plane.log_labels(name, request_id, texts) else "not logged"
    else:
        hint = (
            f"`lading release {name}:N`, and serve it by following (`lading serve` without references), or "
            "log predictions (`--log-predictions`)"
        )
        raise NotSupported(
            f"feedback for `{name}`", expected="a release or a log", found="neither", hint=hint
        )
    # 202: whichever process gave the answer will find the feedback in the catalog.
    return json_response({"counted": counted}, 202 if counted == "passed on" else 200)


def _text(label: object) -> str:
    # A class may be a number; `true` is no class, although Python takes it for 1.
    if isinstance(label, bool) or not isinstance(label, str | int | float):
        raise BodyInvalid("`$.label`", expected="a label, or a list with one per row", found=str(label))
    text = str(label)
    if len(text) > LONGEST_LABEL:
        expected = f"at most {LONGEST_LABEL} characters in a label"
        raise BodyInvalid("`$.label`", expected=expected, found=f"{len(text)}")
    return text
