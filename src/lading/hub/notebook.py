"""Objects of lading as HTML for a notebook, drawn by the macros of the pages.

A fragment brings its own few styles, scoped to its class, because a notebook has none of the hub's; it has no
script, no link and loads nothing. Its size is bounded, whatever the object holds.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from lading.clock import iso_time, unix_time
from lading.errors import LadingError
from lading.hub.drawing import Drawing
from lading.hub.views.monitoring import MonitoringState, monitoring_page
from lading.hub.views.profile import ProfilePanel, profile_panel, profile_row
from lading.hub.views.release import Reason
from lading.hub.views.versions import fields_of, proof_of
from lading.verdict.reasons import weight_of

if TYPE_CHECKING:
    from lading.bundle import Bundle
    from lading.bundle.difference import Difference
    from lading.client import Prediction
    from lading.evidence import Evidence
    from lading.monitor.status import ModelStatus
    from lading.profile import ColumnProfile, Profile
    from lading.registry import ModelVersion
    from lading.release import Release
    from lading.signature import Signature
    from lading.verdict import Verdict

MOST = 20
"""So many rows of a table, and names in a cell."""


def fragment(kind: str, value: object) -> str:
    """Return `value`, an object of `kind`, as HTML."""
    drawing, style = _drawing()
    # A notebook is read again after months, where "3 min ago" would be wrong.
    return drawing.draw(
        "notebook.html", "en", ago=_moment, kind=kind, style=style, most=MOST, **_VALUES[kind](value)
    )


@cache
def _drawing() -> tuple[Drawing, Markup]:
    style = files("lading.hub").joinpath("static", "notebook.css").read_text("utf-8")
    return Drawing(""), Markup(style)  # noqa: S704 - our own file


def _moment(then: float | str) -> Markup:
    at = unix_time(then) if isinstance(then, str) else then
    text = iso_time(at)
    return Markup('<time datetime="{at}">{text}</time>').format(
        at=text, text=text.replace("T", " ").replace("Z", " UTC")
    )


def _bundle(bundle: Bundle) -> dict[str, Any]:
    profile: ProfilePanel | None = None
    unread = ""
    try:
        if bundle.profile is not None:
            profile = profile_panel(bundle.profile, MOST)
    except LadingError as error:
        # Its files have changed since it was opened: that is to be seen, and no reason to show nothing.
        unread = error.message
    signature = bundle.manifest.signature
    return {
        "bundle": bundle,
        "size_bytes": sum(entry.size for entry in bundle.manifest.files.values()),
        "inputs": fields_of(signature.inputs),
        "outputs": fields_of(signature.outputs),
        "panel": profile,
        "unread": unread,
    }


def _signature(signature: Signature) -> dict[str, Any]:
    return {"inputs": fields_of(signature.inputs), "outputs": fields_of(signature.outputs)}


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return {"evidence": evidence, "proof": proof_of(evidence)}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    reasons = [Reason(text, weight_of(text)) for text in verdict.reasons]
    return {"action": verdict.action, "reasons": reasons}


def _profile(profile: Profile) -> dict[str, Any]:
    return {"panel": profile_panel(profile, MOST)}


def _column(column: ColumnProfile) -> dict[str, Any]:
    # A column does not know on which side of the model it is.
    return {"column": profile_row(column)}


def _status(status: ModelStatus) -> dict[str, Any]:
    view = monitoring_page(status, MonitoringState())
    return {"status": status, "view": view}


def _differences(differences: tuple[Difference, ...]) -> dict[str, Any]:
    return {"differences": differences}


def _version(version: ModelVersion) -> dict[str, Any]:
    return {"version": version}


def _release(release: Release) -> dict[str, Any]:
    return {"release": release}


def _client(client: Mapping[str, object]) -> dict[str, Any]:
    return {"client": client}


def _prediction(prediction: Prediction) -> dict[str, Any]:
    # A row may be a vector of thousands.
    return {"prediction": prediction, "rows": [reprlib.repr(value) for value in prediction.values[:MOST]]}


_VALUES: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "bundle": _bundle,
    "client": _client,
    "column": _column,
    "differences": _differences,
    "evidence": _evidence,
    "prediction": _prediction,
    "profile": _profile,
    "release": _release,
    "signature": _signature,
    "status": _status,
    "verdict": _verdict,
    "version": _version,
}
