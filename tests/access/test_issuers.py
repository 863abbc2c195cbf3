"""Keys of issuers: by discovery and from files, fetched again for a new name, and which are left out."""

from __future__ import annotations

import json

import pytest
from joserfc.jwk import OctKey

from lading.access import issuers
from lading.access.file import AccessFile
from lading.access.gate import Gate
from lading.errors import CallerUnknown, InvalidSetting, IssuerUnavailable
from support.access_files import ISSUER_RULES, bearer
from support.oidc_provider import part, provider
from support.waiting import wait_until


@pytest.mark.slow
def test_keys_are_found_by_discovery_and_new_ones_by_their_first_token(monkeypatch):
    with provider() as issuer:
        issuer.add("first")
        gate = Gate(AccessFile.parse(ISSUER_RULES.format(issuer=issuer.issuer, keys="")))
        token = bearer(issuer.token("first"))
        try:
            wait_until(lambda: _is_known(gate, token), what="the keys are fetched")
            assert issuer.requests[:2] == ["/.well-known/openid-configuration", "/keys"]
            # Asked for a moment ago: names cause no flood of requests.
            with pytest.raises(CallerUnknown):
                gate.of_credential(bearer(_renamed(token.decode()[7:], "none")))
            issuer.add("second")
            new = bearer(issuer.token("second"))
            monkeypatch.setattr(issuers, "LEAST_PAUSE_S", 0.0)
            wait_until(lambda: _is_known(gate, new), what="the new key is fetched")
            monkeypatch.undo()
            asked = len(issuer.requests)
            for number in range(50):
                with pytest.raises(CallerUnknown):
                    gate.of_credential(bearer(_renamed(new.decode()[7:], f"none-{number}")))
            # Who asked while keys were fetched may have caused one more fetch, of two requests.
            assert len(issuer.requests) <= asked + 2
        finally:
            gate.close()


def test_an_issuer_that_is_down_is_asked_again_and_known_keys_still_hold():
    with provider() as issuer:
        issuer.add("first")
        issuer.is_down = True
        gate = Gate(AccessFile.parse(ISSUER_RULES.format(issuer=issuer.issuer, keys="")))
        token = bearer(issuer.token("first"))
        try:
            with pytest.raises(IssuerUnavailable):
                gate.of_credential(token)
            issuer.is_down = False
            wait_until(lambda: _is_known(gate, token), what="the keys are fetched")
        finally:
            gate.close()


@pytest.mark.slow
def test_a_new_file_keeps_the_keys_of_an_issuer_whose_rules_are_the_same(monkeypatch):
    with provider() as issuer:
        issuer.add("first")
        text = ISSUER_RULES.format(issuer=issuer.issuer, keys="")
        gate = Gate(AccessFile.parse(text))
        token = bearer(issuer.token("first"))
        try:
            wait_until(lambda: _is_known(gate, token), what="the keys are fetched")
            asked = len(issuer.requests)
            gate.replace(AccessFile.parse(f"open_health = false\n{text}"))
            assert gate.of_credential(token).name == "ada"
            assert len(issuer.requests) == asked
            other = ISSUER_RULES.format(issuer="https://other.example.com", keys='jwks_file = "missing.json"')
            with pytest.raises(InvalidSetting):
                gate.replace(AccessFile.parse(text + other))
            issuer.add("second")
            monkeypatch.setattr(issuers, "LEAST_PAUSE_S", 0.0)
            second = bearer(issuer.token("second"))
            wait_until(lambda: _is_known(gate, second), what="a file that was refused has ended nothing")
            gate.replace(AccessFile.parse(text.replace('"30s"', '"31s"')))
            wait_until(lambda: _is_known(gate, token), what="the keys are fetched for other rules")
        finally:
            gate.close()


@pytest.mark.parametrize(
    "discovered",
    [{"issuer": "https://evil.example.com"}, {"jwks_uri": "http://evil.example.com/keys"}, {"jwks_uri": 1}],
)
def test_a_provider_that_says_it_is_another_is_not_believed(discovered, caplog):
    with provider() as issuer:
        issuer.add("first")
        issuer.discovered = discovered
        gate = Gate(AccessFile.parse(ISSUER_RULES.format(issuer=issuer.issuer, keys="")))
        try:
            wait_until(lambda: "cannot be fetched" in caplog.text, what="it was tried")
            with pytest.raises(IssuerUnavailable):
                gate.of_credential(bearer(issuer.token("first")))
        finally:
            gate.close()


def test_an_issuer_without_https_is_refused_at_the_start():
    with pytest.raises(InvalidSetting, match="an address with https"):
        Gate(AccessFile.parse(ISSUER_RULES.format(issuer="http://login.example.com", keys="")))


def test_secrets_among_the_keys_are_left_out(tmp_path):
    secret = OctKey.generate_key(256).as_dict()
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [secret]}))
    text = ISSUER_RULES.format(issuer="https://login.example.com", keys='jwks_file = "keys.json"')
    with pytest.raises(InvalidSetting, match="a public key that signs, found none"):
        Gate(AccessFile.parse(text, folder=tmp_path))


def _is_known(gate: Gate, token: bytes) -> bool:
    try:
        return gate.of_credential(token).name == "ada"
    except (IssuerUnavailable, CallerUnknown):
        return False


def _renamed(token: str, kid: str) -> str:
    _, body, signature = token.split(".")
    return f"{part({'alg': 'ES256', 'kid': kid})}.{body}.{signature}"
