"""The gate of a policy file: read again when it changes, and the one before holds while it is wrong."""

from __future__ import annotations

import time

import pytest

from lading.errors import AttestationExpired, InvalidSetting, PolicyNotMet
from lading.trust.gate import PolicyGate
from support.signing import policy_file, signature


def test_a_gate_names_those_who_vouch_and_refuses_what_nobody_does(tmp_path, bundle):
    gate = PolicyGate(policy_file(tmp_path))
    assert gate.check("load", bundle.manifest, bundle.digest, [signature(bundle)]) == ("ci",)
    with pytest.raises(PolicyNotMet, match="expected a signature, found none"):
        gate.check("load", bundle.manifest, bundle.digest, [])


def test_a_policy_is_another_one_if_its_file_or_one_of_its_keys_has_changed(tmp_path):
    path = policy_file(tmp_path)
    gate = PolicyGate(path)
    before = gate.digest
    assert not gate.reload()
    policy_file(tmp_path, keys="ann:packer")
    assert gate.reload()
    assert gate.digest != before


def test_a_file_that_becomes_wrong_is_said_once_and_the_policy_before_holds(tmp_path, bundle, caplog):
    path = policy_file(tmp_path)
    gate = PolicyGate(path)
    before = gate.digest
    path.write_text("[[modle]]")
    for _ in range(3):
        assert not gate.reload()
    assert caplog.text.count("the trust policy is not read again") == 1
    assert gate.digest == before
    assert gate.check("load", bundle.manifest, bundle.digest, [signature(bundle)]) == ("ci",)
    policy_file(tmp_path)
    assert not gate.reload()
    assert gate.failure == ""


def test_a_gate_judges_ages_by_the_clock_that_it_has(tmp_path, bundle):
    rules = '[[model]]\nnames = ["*"]\nmax_age_days = 30\n'
    later = PolicyGate(policy_file(tmp_path, rules), clock=lambda: time.time() + 31 * 86_400)
    with pytest.raises(AttestationExpired, match="expected one of the last 30 days"):
        later.check("load", bundle.manifest, bundle.digest, [signature(bundle)])


def test_a_gate_is_not_opened_over_a_file_that_is_wrong(tmp_path):
    with pytest.raises(InvalidSetting):
        PolicyGate(tmp_path / "none.toml")
