"""TLS of the gRPC port, by the files of the server, and who is at the other end of it."""

from __future__ import annotations

import grpc

from lading.access.certificates import names_of
from lading.access.tls import Tls, TlsPair


def credentials(tls: Tls) -> grpc.ServerCredentials:
    """Return credentials that take the present certificate for each connection; TLS 1.2 is grpcio's least.

    grpcio cannot ask for a certificate without needing one: where it is optional, gRPC asks for none.
    """
    needs_client = tls.files.client_ca is not None and tls.files.needs_client
    seen = tls.changed

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal seen
        if tls.changed == seen:
            return None  # Nothing new: grpcio keeps what it has.
        seen = tls.changed
        return _configuration(tls.pair(), needs_client=needs_client)

    first = _configuration(tls.pair(), needs_client=needs_client)
    return grpc.dynamic_ssl_server_credentials(first, fetch, require_client_authentication=needs_client)


def call_names(context: grpc.ServicerContext) -> tuple[str, ...]:
    """Return the names of the certificate of a call's client; none without one."""
    certificates = context.auth_context().get("x509_pem_cert", ())
    return names_of(bytes(certificates[0])) if certificates else ()


def _configuration(pair: TlsPair, *, needs_client: bool) -> grpc.ServerCertificateConfiguration:
    roots = pair.client_ca if needs_client else None
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.cert)], roots)
