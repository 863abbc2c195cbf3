"""Adopts servers that are not ours: asks each what it is, over the routes that it has for everybody.

Nothing is asked again by itself: what is known of a foreign server is as old as the last time it was asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from lading.errors import InvalidSetting, RemoteError, ServerUnavailable, UsageError
from lading.inventory.external import Ask, mlflow, oip, tfs
from lading.registry.urls import without_secrets
from lading.replica import Replica

TIMEOUT_S = 5.0

KINDS: tuple[Ask, ...] = (oip.ask, tfs.ask, mlflow.ask)
"""In this order: MLServer also answers as MLflow does, and tells more over the Open Inference Protocol."""

_SPOKEN = "`/v2`, `/v1/models/NAME`, or `/version` with `/ping`"


def adopt(url: str, models: Sequence[str] = (), *, timeout_s: float = TIMEOUT_S) -> Replica:
    """Ask the server at `url` what it is and serves. Its id is the address: asked again, it is the same.

    `models` names what to ask for where the server lists nothing, as TensorFlow Serving does. Raises
    `ServerUnavailable`, `RemoteError` where it answers none of the questions, and `UsageError` where it
    is a lading server, which registers itself.
    """
    base = _base(url)
    where = f"server `{base}`"
    with httpx.Client(base_url=base, timeout=timeout_s) as http:
        try:
            found = next(filter(None, (ask(http, models) for ask in KINDS)), None)
        except httpx.RequestError as error:
            raise ServerUnavailable(
                where, expected="an answer", found=str(error) or type(error).__name__
            ) from None
    if found is None:
        hint = "TensorFlow Serving does not list its models: name one with `--model NAME`"
        raise RemoteError(where, expected=f"an answer to {_SPOKEN}", found="none", hint=hint)
    if found.software.split()[0] == "lading":
        hint = "start it with the same LADING_REGISTRY"
        raise UsageError(
            where, expected="a foreign server", found="one of lading, which registers itself", hint=hint
        )
    return Replica(
        id=base.netloc.decode(),
        host=base.host,
        address=str(base).rstrip("/"),
        pattern="foreign",
        software=found.software,
        models=found.models,
        settings={"models": ",".join(models)} if models else {},
    )


def _base(url: str) -> httpx.URL:
    """Read the address; a password in it is neither kept nor shown."""
    try:
        base = httpx.URL(url)
    except httpx.InvalidURL:
        base = httpx.URL("")
    if base.scheme not in ("http", "https") or not base.host:
        raise InvalidSetting(
            "server address", expected="`http://host:port`", found=f"`{without_secrets(url)}`"
        )
    return base.copy_with(userinfo=b"", query=None, fragment=None)
