"""Where webhooks may be sent, and how they are signed."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from lading.errors import InvalidSetting, UsageError
from lading.server.jobs.hook_rules import HookRules, is_public, read_secrets
from lading.settings import ServeSettings

SECRET = bytes(range(32))
OTHER = bytes(32)


def line(secret: bytes) -> str:
    return f"whsec_{base64.b64encode(secret).decode()}\n"


@pytest.fixture
def secret_file(tmp_path) -> str:
    file = tmp_path / "secret"
    file.write_text(line(SECRET) + line(OTHER))
    return str(file)


def rules(secret_file: str, hosts: str = "") -> HookRules:
    return HookRules(ServeSettings(job_webhook_secret_file=secret_file, job_webhook_hosts=hosts))


def test_a_message_is_signed_as_standard_webhooks_with_every_secret(secret_file):
    signatures = rules(secret_file).signatures("msg_1", 1700000000, b"{}").split(" ")
    for signature, secret in zip(signatures, (SECRET, OTHER), strict=True):
        digest = hmac.new(secret, b"msg_1.1700000000.{}", hashlib.sha256).digest()
        assert signature == f"v1,{base64.b64encode(digest).decode()}"


def test_the_signature_is_that_of_the_specification(tmp_path):
    # The example of Svix's documentation, which the specification comes from.
    (tmp_path / "s").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    signed = rules(str(tmp_path / "s")).signatures(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a",
        "ftp://example.com/a",
        "https://user:secret@example.com/",
        "https://example.com/#part",
        "https:///path",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://10.1.2.3/",
        "https://169.254.169.254/latest/meta-data",
        "https://example.com:99999/",
        "https://exa mple.com/",
        "https://예.example/",
        "no url",
        "https://example.com/" + "a" * 3000,
    ],
)
def test_a_url_that_no_webhook_may_be_sent_to_is_refused(secret_file, url):
    with pytest.raises(UsageError, match="`x-lading-job-webhook`"):
        rules(secret_file).check(url)


def test_without_a_list_any_public_host_is_allowed_over_https(secret_file):
    allowed = rules(secret_file)
    allowed.check("https://hooks.example.com:8443/a?b=c")
    assert allowed.may_connect("hooks.example.com", "8.8.8.8")
    assert not allowed.may_connect("hooks.example.com", "10.0.0.1")


def test_a_list_allows_its_hosts_alone_over_http_and_at_private_addresses(secret_file):
    allowed = rules(secret_file, "10.0.0.7, *.internal.example,[::1]")
    for url in ("http://10.0.0.7:9000/", "https://a.internal.example/", "http://[::1]/"):
        allowed.check(url)
    assert allowed.may_connect("A.internal.example", "10.9.9.9")
    for url in ("https://internal.example/", "https://example.com/", "https://xinternal.example/"):
        with pytest.raises(UsageError, match="expected a host that is allowed"):
            allowed.check(url)
    assert not allowed.may_connect("example.com", "8.8.8.8")


def test_without_a_secret_no_job_may_name_a_webhook():
    with pytest.raises(UsageError, match="expected none on a server without a secret"):
        rules("").check("https://example.com/")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("no address", False),
    ],
)
def test_which_addresses_are_public(address, public):
    assert is_public(address) == public


@pytest.mark.parametrize("text", ["", "hush-hush", "whsec_####", "whsec_c2hvcnQ=", line(SECRET) + "whsec_"])
def test_secrets_that_cannot_be_used_are_refused_without_being_shown(tmp_path, text):
    (tmp_path / "s").write_text(text)
    with pytest.raises(
        InvalidSetting, match="`job_webhook_secret_file`: expected lines of `whsec_`"
    ) as caught:
        read_secrets(str(tmp_path / "s"))
    assert "hush" not in caught.value.message


def test_a_file_that_does_not_exist_and_hosts_that_are_none_are_refused(secret_file, tmp_path):
    with pytest.raises(InvalidSetting, match="No such file"):
        read_secrets(str(tmp_path / "none"))
    for hosts in ("https://example.com", "example.com:443"):
        with pytest.raises(InvalidSetting, match="`job_webhook_hosts`"):
            rules(secret_file, hosts)
