"""A trust policy that is watched: what it refused is tried again, and what is loaded goes on."""

from __future__ import annotations

import logging

from lading.registry.beside import add_beside
from lading.server.inference.version import State
from support.signing import policy_file, signature
from support.trusting_servers import metrics, serving, state, until
from support.waiting import wait_until


def test_a_bundle_that_is_signed_later_is_loaded_without_a_restart(bundle, policy):
    with serving(bundle, policy) as plane:
        until(plane, State.FAILED)
        assert "expected a signature, found none" in plane.find("iris").reason
        assert 'lading_trust_refused{loaded="no",model="iris",version="1"} 1.0' in metrics(plane)
        add_beside(bundle.path, [signature(bundle)])
        until(plane, State.READY)
        assert "lading_trust_refused{" not in metrics(plane)


def test_a_policy_that_changes_is_read_again_and_what_was_refused_tried_again(bundle, policy, caplog):
    caplog.set_level(logging.INFO, "lading")
    add_beside(bundle.path, [signature(bundle, "mallory")])
    with serving(bundle, policy) as plane:
        until(plane, State.FAILED)
        before = plane.trust.digest
        policy_file(policy.parent, keys="ci:packer mallory:packer")
        until(plane, State.READY)
        assert plane.trust.digest != before
        assert f'lading_trust_policy_info{{digest="{plane.trust.digest}"}} 1.0' in metrics(plane)
    assert (
        f"the trust policy has changed: `{policy}` is {plane.trust.digest} now, it was {before}"
        in caplog.text
    )
    assert "iris:1 is let in, signed by mallory" in caplog.text


def test_what_is_loaded_goes_on_when_its_key_is_withdrawn_and_the_server_says_so(bundle, policy, caplog):
    add_beside(bundle.path, [signature(bundle)])
    with serving(bundle, policy) as plane:
        until(plane, State.READY)
        policy_file(policy.parent, keys="ann:packer")
        wait_until(lambda: plane.trust.objections)
        assert state(plane) is State.READY
        assert 'lading_trust_refused{loaded="yes",model="iris",version="1"} 1.0' in metrics(plane)
        assert "expected a signature by one key that counts here" in plane.trust.objections["iris", 1]
        policy_file(policy.parent)
        wait_until(lambda: not plane.trust.objections)
    assert "iris:1 goes on, loaded before" in caplog.text


def test_a_policy_that_becomes_wrong_changes_nothing(bundle, policy, caplog):
    add_beside(bundle.path, [signature(bundle)])
    with serving(bundle, policy) as plane:
        until(plane, State.READY)
        before = plane.trust.digest
        policy.write_text("[[modle]]\n")
        wait_until(lambda: "the trust policy is not read again" in caplog.text)
        assert "found `modle`" in caplog.text
        assert (state(plane), plane.trust.digest) == (State.READY, before)
