"""A provider of OpenID Connect, as far as a server of tokens needs one: discovery, keys, signed tokens."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

AUDIENCE = "lading"


class Provider:
    """Its keys by name; ``requests`` has the paths that were asked for."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.issuer = "https://login.example.com"
        self.requests: list[str] = []
        self.is_down = False
        self.discovered: dict[str, Any] = {}

    def add(self, kid: str, kind: str = "EC") -> Any:
        parameters = {"kid": kid, "use": "sig"}
        key = {
            "EC": lambda: ECKey.generate_key("P-256", parameters),
            "RSA": lambda: RSAKey.generate_key(2048, parameters),
            "OKP": lambda: OKPKey.generate_key("Ed25519", parameters),
        }[kind]()
        self.keys[kid] = key
        return key

    def jwks(self) -> dict[str, Any]:
        return {"keys": [key.as_dict(private=False) for key in self.keys.values()]}

    def token(self, kid: str, algorithm: str = "ES256", header: Any = None, **claims: Any) -> str:
        now = int(time.time())
        body = {"iss": self.issuer, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 600, **claims}
        body = {name: value for name, value in body.items() if value is not None}
        head = {"alg": algorithm, "kid": kid, **(header or {})}
        algorithms = [algorithm]
        data = json.dumps(body).encode()
        return jws.serialize_compact(head, data, self.keys[kid], algorithms=algorithms)


def part(value: Any) -> str:
    """Return one part of a token that nobody has signed."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextlib.contextmanager
def provider() -> Iterator[Provider]:
    """Run a provider on a free port of this machine."""
    made = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.requests.append(self.path)
            documents = {
                "/.well-known/openid-configuration": {
                    "issuer": made.issuer,
                    "jwks_uri": f"{made.issuer}/keys",
                    **made.discovered,
                },
                "/keys": made.jwks(),
            }
            known = documents.get(self.path) if not made.is_down else None
            data = json.dumps(known).encode()
            self.send_response(200 if known is not None else 503)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
