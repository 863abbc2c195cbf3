"""A server that gives out tokens as docker-registry wants them: short JWTs, signed, one per scope."""

from __future__ import annotations

import base64
import datetime
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID

LIFE_S = 1.0


class TokenServer(ThreadingHTTPServer):
    """Knows one user; who says nothing may only pull. `asked` holds the scopes that were asked for."""

    def __init__(self, folder: Path, user: str, password: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.basic = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.password = password
        self.asked: list[tuple[str, str]] = []
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = _certificate(self.key)
        self.bundle = folder / "token.pem"
        self.bundle.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        self.realm = f"http://127.0.0.1:{self.server_port}/token"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def config(self) -> str:
        """What docker-registry's configuration says of this server."""
        return (
            f"auth:\n  token:\n    realm: {self.realm}\n    service: lading-test\n"
            f"    issuer: tests\n    rootcertbundle: {self.bundle}\n"
        )

    def token(self, scopes: list[str], *, push: bool) -> str:
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            allowed = [action for action in actions.split(",") if push or action == "pull"]
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        claims = {"iss": "tests", "sub": "", "aud": "lading-test", "jti": "1", "access": access}
        claims.update({"iat": now, "nbf": now - 60, "exp": int(now + LIFE_S)})
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        head = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        signed = f"{_base64(json.dumps(head).encode())}.{_base64(json.dumps(claims).encode())}"
        r, s = utils.decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_base64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class _Handler(BaseHTTPRequestHandler):
    server: TokenServer

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        authorization = self.headers.get("authorization")
        self._answer(
            "GET", query, known=authorization == self.server.basic, refused=authorization is not None
        )

    def do_POST(self) -> None:
        query = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        known = query.get("refresh_token") == [self.server.password]
        self._answer("POST", query, known=known, refused=True)

    def _answer(self, method: str, query: dict[str, list[str]], *, known: bool, refused: bool) -> None:
        scopes = " ".join(query.get("scope", [])).split()
        self.server.asked.append((method, " ".join(scopes)))
        if refused and not known:
            body, status = {"errors": [{"code": "UNAUTHORIZED", "message": "wrong password"}]}, 401
        else:
            body, status = {"token": self.server.token(scopes, push=known)}, 200
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def _certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.public_key(key.public_key()).not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
