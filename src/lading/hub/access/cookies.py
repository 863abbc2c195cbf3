"""The cookie of a session: for this site alone, out of reach of scripts, over TLS if the hub is."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from lading.hub.access import SESSION_S, Access, Session


def session_of(access: Access, request: Request) -> Session | None:
    """Return the session of a request, or None without a valid one."""
    return access.session(request.cookies.get(_name(request), ""))


def keep_session(response: Response, access: Access, session: Session, request: Request) -> None:
    """Have the browser keep a session until its end."""
    response.set_cookie(
        _name(request),
        access.cookie(session),
        max_age=int(SESSION_S),  # The session has its own end, which is signed.
        httponly=True,
        samesite="strict",
        secure=_is_secure(request),
    )


def drop_session(response: Response, request: Request) -> None:
    """Have the browser forget its session."""
    response.delete_cookie(_name(request), httponly=True, samesite="strict", secure=_is_secure(request))


def _name(request: Request) -> str:
    # A name that browsers take from this host alone, over TLS: no other host of the domain can set it.
    return "__Host-lading_session" if _is_secure(request) else "lading_session"


def _is_secure(request: Request) -> bool:
    # Of a proxy that takes TLS off on this machine, uvicorn reads `X-Forwarded-Proto`.
    return request.url.scheme == "https"
