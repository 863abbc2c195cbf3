"""Adopts servers of other kinds: asks each what it is and what it serves, over its public routes.

Nothing asks again by itself: what is known about a foreign server is as old as the last time it was asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from lading.blobs.retry import AnswerRefused
from lading.bounded_http import open_client, time_limit
from lading.errors import InvalidSetting, RemoteError, ServerUnavailable, UsageError
from lading.inventory.external import Ask, mlflow, oip, tfs
from lading.registry.urls import without_secrets
from lading.replica import Replica

TIMEOUT_S = 5.0
# A server with many models is asked about each; all of it takes no longer than so many answers may.
_QUESTIONS = 12

KINDS: tuple[Ask, ...] = (oip.ask, tfs.ask, mlflow.ask)
"""In this order: MLServer also answers as MLflow does, but says more over the Open Inference Protocol."""

_ROUTES = "`/v2`, `/v1/models/NAME`, or `/version` with `/ping`"


def adopt(url: str, models: Sequence[str] = (), *, timeout_s: float = TIMEOUT_S) -> Replica:
    """Ask the server at `url` what it is and what it serves; its id is its address, so it is always the same.

    `models` names the models to ask about if the server cannot list them, as TensorFlow Serving. Raises
    `ServerUnavailable`, `RemoteError` if it answers none of the questions, and `UsageError` if it is a lading
    server, which registers itself.
    """
    base = _base_url(url)
    where = f"server `{base}`"
    with open_client(base_url=base, timeout=timeout_s) as http:
        try:
            with time_limit(timeout_s * _QUESTIONS):
                answer = next(filter(None, (ask(http, models) for ask in KINDS)), None)
        except (AnswerRefused, httpx.RequestError) as error:
            raise ServerUnavailable(
                where, expected="an answer", found=str(error) or type(error).__name__
            ) from None
    if answer is None:
        hint = "TensorFlow Serving does not list its models: name one with `--model NAME`"
        raise RemoteError(where, expected=f"an answer to {_ROUTES}", found="none", hint=hint)
    if answer.software.split()[0] == "lading":
        hint = "start it with the same LADING_REGISTRY"
        actual = "a lading server, which registers itself"
        raise UsageError(where, expected="a server of another kind", found=actual, hint=hint)
    return Replica(
        id=base.netloc.decode(),
        host=base.host,
        address=str(base).rstrip("/"),
        pattern="foreign",
        software=answer.software,
        models=answer.models,
        # So that `lading inventory --ask` can ask about the same models again.
        settings={"models": ",".join(models)} if models else {},
    )


def _base_url(url: str) -> httpx.URL:
    """Parse the address; a password in it is neither stored nor shown. Raises `InvalidSetting`."""
    try:
        base = httpx.URL(url)
    except httpx.InvalidURL:
        base = httpx.URL("")
    if base.scheme not in ("http", "https") or not base.host:
        raise InvalidSetting(
            "server address", expected="`http://host:port`", found=f"`{without_secrets(url)}`"
        )
    return base.copy_with(userinfo=b"", query=None, fragment=None)
