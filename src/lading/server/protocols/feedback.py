"""The truth about an answer, told later: what makes online accuracy of a release.

Whoever learns it names the request by the ``x-request-id`` that the answer carried. An answer that another
process gave is passed on through the catalog; one that nobody remembers is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from lading.errors import BodyInvalid, NotSupported
from lading.server.http.messages import Request, Response, Route, json_response
from lading.server.inference.dataplane import DataPlane
from lading.server.protocols import UNREADABLE, unread
from lading.server.protocols import native as book

PROTOCOL = "feedback"


class _Feedback(msgspec.Struct, forbid_unknown_fields=True):
    request_id: str
    label: Any


_decoder = msgspec.json.Decoder(_Feedback)


def routes() -> Iterator[Route]:
    """List the routes of this protocol."""
    summary = "Tell the truth about an answer"
    yield Route("POST", "/models/{name}/feedback", feedback, book.refuse, PROTOCOL, summary)


def feedback(request: Request, plane: DataPlane) -> Response:
    """Take the true label of an answer, a list for several rows, by name as `/predict/label` gives it."""
    name = request.params["name"]
    plane.versions(name)
    try:
        body = _decoder.decode(request.body)
    except UNREADABLE as error:
        hint = 'send `{"request_id": "…", "label": "setosa"}`'
        raise BodyInvalid(
            "body", expected="a request's id and its label", found=unread(error), hint=hint
        ) from None
    truth = tuple(_text(one) for one in (body.label if isinstance(body.label, list) else [body.label]))
    if plane.observer is None or name not in plane.traffic:
        hint = f"`lading release {name}:N`, and serve it by following (`lading serve` without references)"
        raise NotSupported(f"feedback for `{name}`", expected="a release", found="none", hint=hint)
    here = plane.observer.add_feedback(name, body.request_id.encode(), truth)
    return json_response({"counted": "here" if here else "passed on"}, 200 if here else 202)


def _text(label: object) -> str:
    if isinstance(label, str):
        return label
    if isinstance(label, bool) or not isinstance(label, int | float):
        raise BodyInvalid("`$.label`", expected="a label, or a list of one for each row", found=str(label))
    return str(label)
