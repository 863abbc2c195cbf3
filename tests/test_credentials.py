"""What a client says of itself, and which servers it trusts."""

from __future__ import annotations

import ssl

import pytest

from lading.credentials import trusted, with_key
from lading.errors import InvalidSetting
from support.certificates import Authority


def test_a_key_is_sent_as_a_bearer_unless_another_credential_is_stated():
    assert with_key(None, "k") == {"authorization": "Bearer k"}
    assert with_key({"Authorization": "Basic YTpi", "X-Id": "1"}, "k") == {
        "authorization": "Basic YTpi",
        "x-id": "1",
    }
    assert with_key(None, None) == {}


@pytest.mark.parametrize("key", ["a\r\nx-admin: 1", "ключ"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_repeated(key):
    with pytest.raises(InvalidSetting) as refused:
        with_key(None, key)
    assert key not in str(refused.value)


def test_a_client_trusts_what_is_usual_or_the_files_that_are_named(tmp_path):
    authority = Authority(tmp_path)
    signed = authority.sign("scorer")
    assert trusted(None, None) is True
    context = trusted(authority.path, (signed.cert, signed.key))
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode == ssl.CERT_REQUIRED


def test_files_that_hold_something_else_are_named_by_their_argument(tmp_path):
    (tmp_path / "text.pem").write_text("hello")
    with pytest.raises(InvalidSetting, match="`ca`: expected files in PEM"):
        trusted(tmp_path / "text.pem", None)
    with pytest.raises(InvalidSetting, match="`ca` and `cert`"):
        trusted(None, (tmp_path / "missing.pem", tmp_path / "missing.pem"))
