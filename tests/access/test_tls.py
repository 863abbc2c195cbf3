"""TLS from files: one sentence for each that cannot be used, and changes without an end of what is open."""

from __future__ import annotations

import ssl
import time

import pytest

from lading.access.tls import Tls, check_tls, tls_files
from lading.errors import InvalidSetting
from support.certificates import Authority
from support.waiting import wait_until


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def refusal(cert: object, key: object, ca: object = "") -> str:
    files = tls_files(str(cert), str(key), str(ca))
    assert files is not None
    with pytest.raises(InvalidSetting) as refused:
        check_tls(files, time.time())
    return refused.value.message


def test_without_files_there_is_no_tls():
    assert tls_files("", "") is None


def test_a_certificate_needs_its_key():
    with pytest.raises(InvalidSetting, match="`tls_key`: expected the name of a file, found none"):
        tls_files("a.pem", "")
    with pytest.raises(InvalidSetting, match="`tls_cert`"):
        tls_files("", "", "ca.pem")


def test_a_certificate_and_the_key_of_another(authority):
    first, other = authority.sign("a"), authority.sign("b")
    expected = f"expected the private key of the certificate in `{first.cert}`, found that of another one"
    assert refusal(first.cert, other.key) == f"`{other.key}`: {expected}"


def test_a_certificate_that_is_over(authority):
    signed = authority.sign("old", days=-1)
    message = refusal(signed.cert, signed.key)
    expected = "expected a certificate that holds, found one that expired at 20"
    assert message.startswith(f"`{signed.cert}`: {expected}")


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(authority):
    signed = authority.sign("locked", password=b"secret")
    assert refusal(signed.cert, signed.key) == (
        f"`{signed.key}`: expected a private key without password, found one that is encrypted"
    )


def test_files_that_are_missing_or_hold_something_else(authority, tmp_path):
    signed = authority.sign("c")
    missing = tmp_path / "missing.pem"
    assert refusal(missing, signed.key) == (
        f"`tls_cert`, `{missing}`: expected a file that can be read, found no such file or directory"
    )
    text = tmp_path / "text.pem"
    text.write_text("hello")
    assert refusal(text, signed.key) == f"`{text}`: expected a certificate in PEM, found another form"
    assert "a certificate and its private key in PEM" in refusal(signed.cert, text)
    assert refusal(signed.cert, signed.key, text) == (
        f"`{text}`: expected certificates in PEM, found another form"
    )


def test_tls_1_2_is_the_least(authority):
    signed = authority.sign("d")
    tls = Tls(tls_files(str(signed.cert), str(signed.key)), time.time)
    assert tls.context().minimum_version == ssl.TLSVersion.TLSv1_2
    tls.close()


def test_changed_files_are_taken_and_bad_ones_are_not(authority, caplog):
    signed = authority.sign("e")
    tls = Tls(tls_files(str(signed.cert), str(signed.key)), time.time, every_s=0.02)
    try:
        first = tls.context()
        signed.key.write_text("hello")
        wait_until(lambda: "what was read before still holds" in caplog.text, what="it is refused")
        assert tls.context() is first
        authority.sign("e")
        wait_until(lambda: tls.context() is not first, what="the new one is taken")
    finally:
        tls.close()
