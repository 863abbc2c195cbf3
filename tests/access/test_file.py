"""The access file: what it states, and a sentence for whatever is wrong in it."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from lading.access import PREDICT, READ, Grant
from lading.access.file import AccessFile, duration_s
from lading.access.keys import new_key
from lading.errors import InvalidSetting

HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
KEY = f'[[keys]]\nname = "a"\nsha256 = "{HASH}"\nroles = ["predict"]\n'
ISSUER = '[[issuers]]\nissuer = "https://login.example.com"\naudience = "lading"\n'
GRANT = '[[issuers.grants]]\nclaim = "groups"\nvalue = "ml"\nroles = ["read"]\n'


def test_a_file_states_keys_issuers_and_certificates():
    text = (
        f'open_health = false\n{KEY}models = ["fraud", "iris*"]\nexpires = 2027-01-31\nrate = "50/s"\n'
        f'quota = "1000/d"\n{ISSUER}clock_skew = "60s"\n{GRANT}'
        '[[certificates]]\nname = "scorer"\nsubject = "CN=scorer"\nroles = ["read", "predict"]\n'
    )
    file = AccessFile.parse(text)
    (key,), (issuer,), (certificate,) = file.keys, file.issuers, file.certificates
    assert key.grant == Grant(PREDICT, ("fraud", "iris*"))
    assert [(limit.per_s, limit.burst) for limit in key.limits] == [(50, 50), (1000 / 86400, 1000)]
    assert datetime.fromtimestamp(key.expires_at, UTC).isoformat() == "2027-01-31T23:59:59.999999+00:00"
    assert issuer.clock_skew_s == 60
    assert issuer.audiences == ("lading",)
    assert issuer.algorithms == ("RS256", "ES256")
    assert issuer.grants[0].grant == Grant(READ)
    assert certificate.grant.roles == READ | PREDICT
    assert not file.open_health


def test_without_an_end_a_key_holds_for_good():
    assert math.isinf(AccessFile.parse(KEY).keys[0].expires_at)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("keys = 1", "`keys` in `access.toml`: expected tables, found another value (int)"),
        ("[[kees]]", "found `kees`"),
        ("nonsense", "expected TOML, found another form"),
        ("", "expected somebody who may do something, found nobody"),
        (KEY.replace("roles", "rolls"), "found `rolls`"),
        (KEY.replace('"predict"', '"predictt"'), "found `predictt`"),
        (KEY.replace('["predict"]', "[]"), "`roles` of keys[1] in `access.toml`: expected a list of"),
        (KEY.replace(HASH, HASH.upper()), "64 digits of hex in lower case"),
        (KEY.replace('name = "a"', 'name = "a\\nb"'), "printable characters"),
        (KEY + KEY.replace(HASH, HASH[::-1]), "each `name` once, found `a` twice"),
        (KEY + KEY.replace('"a"', '"b"'), "each `sha256` once"),
        (KEY + 'models = ["[ab]"]', "names of models, in which `*` stands for any characters, found `[ab]`"),
        (KEY + 'expires = "2027-01-31"', "a date such as 2027-01-31, without quotes"),
        (KEY + 'rate = "50"', "requests by time, such as `50/s`"),
        (KEY + 'rate = "0/s"', "requests by time"),
        (ISSUER + 'algorithms = ["HS256"]\n' + GRANT, "asymmetric ones of"),
        (ISSUER + 'algorithms = ["none"]\n' + GRANT, "asymmetric ones of"),
        (ISSUER, "`grants` of issuers[1]"),
        (ISSUER.replace('audience = "lading"', ""), "what tokens for this server have as `aud`"),
        (ISSUER + 'clock_skew = "1h"\n' + GRANT, "at most 600 s"),
        (ISSUER + 'jwks_url = "https://a"\njwks_file = "b"\n' + GRANT, "one of `jwks_url` and `jwks_file`"),
        (ISSUER + GRANT.replace("claim", "claims"), "found `claims`"),
        ('[[certificates]]\nname = "a"\nroles = ["read"]', "`subject` of certificates[1]"),
        ("open_health = 1", "`open_health` of `access.toml`: expected true or false"),
    ],
)
def test_what_is_wrong_is_a_sentence(text, sentence):
    with pytest.raises(InvalidSetting) as refused:
        AccessFile.parse(text)
    assert sentence in refused.value.message


def test_a_mistyped_word_has_a_suggestion():
    with pytest.raises(InvalidSetting) as refused:
        AccessFile.parse(KEY.replace("roles", "rolls"))
    assert refused.value.hint == "did you mean `roles`?"


def test_a_key_that_was_pasted_for_its_hash_is_not_repeated():
    key = new_key()
    with pytest.raises(InvalidSetting) as refused:
        AccessFile.parse(KEY.replace(HASH, key))
    assert key not in str(refused.value)


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path):
    with pytest.raises(InvalidSetting, match="no such file or directory"):
        AccessFile.read(tmp_path / "access.toml")
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(InvalidSetting, match="not in UTF-8"):
        AccessFile.read(tmp_path / "bytes")


def test_a_duration_has_a_unit():
    assert duration_s("90d", "`--expires`") == 90 * 86400
    with pytest.raises(InvalidSetting, match="such as `90d`"):
        duration_s("90", "`--expires`")
