"""True labels of answers, sent later: the source of a release's online accuracy.

The sender names the request by the ``x-request-id`` that the answer carried. Feedback on the answer of
another process is passed on through the catalog; feedback on an answer that no process remembers is not
counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from lading.errors import BodyInvalid, NotSupported
from lading.server.http.messages import Request, Response, Route, json_response
from lading.server.inference.dataplane import DataPlane
from lading.server.protocols import DECODE_ERRORS, decode_error_text, native

PROTOCOL = "feedback"


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
    )


def feedback(request: Request, plane: DataPlane) -> Response:
    """Accept the true label of an answer by its name, as `/predict/label` has it; a list for several rows."""
    name = request.params["name"]
    plane.versions(name)  # Raises `ModelNotFound` before the body is read.
    try:
        body = _decoder.decode(request.body)
    except DECODE_ERRORS as error:
        raise BodyInvalid(
            "body",
            expected="a request's id and its label",
            found=decode_error_text(error),
            hint='send `{"request_id": "…", "label": "setosa"}`',
        ) from None
    labels = body.label if isinstance(body.label, list) else [body.label]
    texts = tuple(_text(label) for label in labels)
    if plane.observer is None or name not in plane.traffic:
        hint = f"`lading release {name}:N`, and serve it by following (`lading serve` without references)"
        raise NotSupported(f"feedback for `{name}`", expected="a release", found="none", hint=hint)
    counted_here = plane.observer.add_feedback(name, body.request_id.encode(), texts)
    # 202: whichever process gave the answer will find the feedback in the catalog.
    status = 200 if counted_here else 202
    return json_response({"counted": "here" if counted_here else "passed on"}, status)


def _text(label: object) -> str:
    if isinstance(label, str):
        return label
    # A class may be a number; `true` is no class, although Python takes it for 1.
    if isinstance(label, bool) or not isinstance(label, int | float):
        raise BodyInvalid("`$.label`", expected="a label, or a list with one per row", found=str(label))
    return str(label)
