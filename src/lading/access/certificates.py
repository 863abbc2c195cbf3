"""The names of a client's certificate: its subject, and what else it says that it is.

Whether it is signed by whom it should be, and holds, the TLS library has checked before.
"""

from __future__ import annotations

import ssl
from functools import lru_cache

from lading.errors import missing_extra


def peer_names(connection: ssl.SSLObject | ssl.SSLSocket | None) -> tuple[str, ...]:
    """Return the names of the certificate at the other end; none without TLS, or without a certificate."""
    # In DER: the dict of `getpeercert` is empty unless the certificate was verified.
    data = connection.getpeercert(binary_form=True) if connection is not None else None
    return names_of(data) if data else ()


def require_reader() -> None:
    """Raise `ExtraMissing` if certificates cannot be read here."""
    try:
        from cryptography import x509  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_extra("`[[certificates]]` of the access file", "access", error) from None


# Asked for each request of a connection, whose certificate stays the same.
@lru_cache(maxsize=256)
def names_of(data: bytes) -> tuple[str, ...]:
    """Return the names of a certificate in DER or PEM, the subject first, as the access file writes them.

    The subject is in RFC 4514's form (``CN=scorer,O=Example``), others are ``DNS:…``, ``URI:…``.
    Raises `ExtraMissing`.
    """
    require_reader()
    from cryptography import x509

    is_pem = data.startswith(b"-----BEGIN")
    certificate = x509.load_pem_x509_certificate(data) if is_pem else x509.load_der_x509_certificate(data)
    names = [certificate.subject.rfc4514_string()]
    try:
        other = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return tuple(names)
    names += (f"DNS:{name}" for name in other.get_values_for_type(x509.DNSName))
    # A SPIFFE id is a URI in the subject alternative name (SPIFFE X.509-SVID, section 2).
    names += (f"URI:{name}" for name in other.get_values_for_type(x509.UniformResourceIdentifier))
    return tuple(names)
