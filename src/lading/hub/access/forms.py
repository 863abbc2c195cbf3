"""Forms that browsers send: bounded, well-formed, from a page of this hub and of the session that it names.

Reads no files and no JSON: the hub has plain forms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import ClientDisconnect, Request

from lading.errors import (
    BodyInvalid,
    BodyTooLarge,
    DeadlineExceeded,
    MediaTypeRefused,
    NotSupported,
    OriginRefused,
)
from lading.hub.access import Access, Session
from lading.hub.access.cookies import session_of

TOKEN = "token"  # noqa: S105 - the name of a field

_MOST_BYTES = 16_384
_MOST_FIELDS = 20
_TIMEOUT_S = 20.0
_FORM = "application/x-www-form-urlencoded"
_HINT = "open the page of the hub again, and send its form from there"


def check_origin(request: Request) -> None:
    """Raise `OriginRefused` unless a page of this very address sends the request.

    Browsers say so in two headers, which pages cannot set. One of both is enough, because older browsers lack
    ``Sec-Fetch-Site``; a request with neither comes from no browser.
    """
    headers = request.headers
    hosts, origins = headers.getlist("host"), headers.getlist("origin")
    sites = headers.getlist("sec-fetch-site")
    if len(hosts) != 1 or len(origins) > 1 or len(sites) > 1 or not (origins or sites):
        raise _foreign("neither `Origin` nor `Sec-Fetch-Site`, or several")
    if sites and sites[0] != "same-origin":
        raise _foreign(f"`Sec-Fetch-Site: {sites[0][:40]}`")
    if origins and not _is_own(origins[0], hosts[0], request.url.scheme):
        raise _foreign(f"`Origin: {origins[0][:200]}`")


def _is_own(origin: str, host: str, scheme: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    # A proxy may take TLS off without saying so; then the hub's own scheme says nothing about the browser's.
    schemes = ("https",) if scheme == "https" else ("http", "https")
    return (
        parts.scheme in schemes and origin == f"{parts.scheme}://{parts.netloc}" and _same(parts.netloc, host)
    )


def _same(netloc: str, host: str) -> bool:
    return netloc.lower() == host.lower()


async def read_form(request: Request) -> Mapping[str, str]:
    """Return the fields of a form. Raises what is wrong with it, as `LadingError`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM:
        raise MediaTypeRefused("a form", expected=f"`{_FORM}`", found=f"`{kind[:80]}`")
    body = await _body(request)
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        raise _malformed("something else") from None
    fields = dict(pairs)
    # Which of two values counts is nothing that a reader may have to guess.
    if len(fields) != len(pairs):
        raise _malformed("a field twice")
    return fields


async def signed_form(access: Access, request: Request) -> tuple[Session | None, Mapping[str, str]]:
    """Return the session and the fields of a form that a page of this hub has sent in that session.

    Without a session nothing may be done with them. Raises `LadingError` for every other form.
    """
    if not access.has_key:
        hint = "start it with `lading hub --key-file FILE`"
        raise NotSupported("this hub", expected="a key to change something", found="none", hint=hint)
    check_origin(request)
    fields = await read_form(request)
    session = session_of(access, request)
    if session is not None:
        check_token(access, session, fields)
    return session, fields


def check_token(access: Access, session: Session, fields: Mapping[str, str]) -> None:
    """Raise `OriginRefused` if a form does not carry the token of its session."""
    if not access.has_token(session, fields.get(TOKEN, "")):
        raise OriginRefused("a form", expected="the token of your session", found="another one", hint=_HINT)


async def _body(request: Request) -> bytes:
    too_large = BodyTooLarge("a form", expected=f"at most {_MOST_BYTES:,} bytes", found="more")
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or len(length) > 8 or int(length) > _MOST_BYTES:
        raise too_large
    body = bytearray()
    try:
        # Somebody who sends a byte a minute keeps a connection, and no more than that.
        async with asyncio.timeout(_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise too_large
    except TimeoutError:
        raise DeadlineExceeded("a form", expected=f"the whole of it within {_TIMEOUT_S:.0f} s") from None
    except ClientDisconnect:
        raise _malformed("its beginning alone") from None
    return bytes(body)


def _foreign(actual: str) -> OriginRefused:
    return OriginRefused("a form", expected="a page of this hub that sends it", found=actual, hint=_HINT)


def _malformed(actual: str) -> BodyInvalid:
    return BodyInvalid("a form", expected="fields of a form in UTF-8, each once", found=actual)
