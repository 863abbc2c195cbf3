"""Going back to the version that was live before."""

from __future__ import annotations

import re

import pytest

from lading.runtime.host.fingerprint import fingerprint
from support.bundles import linear_bundle
from support.recorded_evidence import ELSEWHERE, push_forged, push_proved, record_evidence


def test_a_rollback_is_a_new_release_of_the_version_that_was_live_before(lading, proved):
    lading("release", "iris:1")
    lading("release", "iris:2")
    code, stdout, stderr = lading("rollback", "iris", "--reason", "complaints")
    assert code == 0, stderr
    assert re.search(r"^iris 3 +live +iris:1 ", stdout, re.MULTILINE)
    assert "`iris:1` is live again in place of `iris:2`; proved on ONNX Runtime" in stderr
    last = proved.releases.events("iris")[-1]
    assert (last.kind, last.from_, last.to, last.reason) == ("rolled_back", "2", "1", "complaints")
    assert last.fingerprint == proved.evidence(proved.resolve("iris:1").digest)[0].fingerprint.id
    assert lading("rollback", "iris", "--to", "1")[0] == 0
    assert len(proved.releases("iris")) == 3


def test_a_rollback_that_is_typed_twice_goes_back_once(lading, proved):
    lading("release", "iris:1")
    lading("release", "iris:2")
    assert lading("rollback", "iris")[0] == 0
    code, stdout, stderr = lading("rollback", "iris")
    assert (code, stdout) == (2, "")
    assert (
        "expected a release that is no rollback itself, found release 3, the rollback to `iris:1`" in stderr
    )
    assert lading("rollback", "iris", "--release", "2")[0] == 1
    assert proved.releases.current("iris").live == 1


def test_a_candidate_on_its_way_is_aborted_once_and_what_is_live_stays(lading, proved):
    lading("release", "iris:1")
    lading("release", "iris:2")
    lading("release", "iris:1", "--canary")
    code, _, stderr = lading("rollback", "iris")
    assert code == 2
    assert "hint: `lading rollout abort iris --release 3` takes `iris:1` out of traffic" in stderr
    code, _, stderr = lading("rollout", "abort", "iris", "--release", "3")
    assert code == 0, stderr
    assert "release 3 of `iris` ended: rolled back, `iris:2` is live: by hand" in stderr
    code, _, stderr = lading("rollout", "abort", "iris")
    assert (code, stderr.splitlines()[-1]) == (0, "nothing was changed")
    code, _, stderr = lading("rollback", "iris")
    assert code == 2, "what comes after an abort must not undo what is live"
    assert "`lading rollback iris --release 2` undoes the release that made it live" in stderr
    assert proved.releases.current("iris").live == 2


def test_rolling_back_a_candidate_keeps_the_live_version_and_needs_no_proof(lading, proved, tmp_path):
    ref = push_forged(proved, tmp_path / "forged")
    record_evidence(proved, ref)
    lading("release", ref)
    lading("release", "iris:2", "--canary")
    code, _, stderr = lading("rollback", "iris", "--to", "3", "--json")
    assert code == 0, stderr
    assert f"`{ref}` is live again in place of `iris:2`; proved on ONNX Runtime 1.17.0" in stderr
    assert proved.releases.current("iris").runtime == ELSEWHERE.id


@pytest.mark.slow
def test_a_rollback_to_a_version_that_does_not_hold_here_is_refused_and_names_where_it_does(
    lading, proved, tmp_path
):
    ref = push_forged(proved, tmp_path / "forged")
    record_evidence(proved, ref)
    lading("release", ref)
    lading("release", "iris:2")
    code, stdout, stderr = lading("rollback", "iris")
    assert (code, stdout) == (1, "")
    assert f"`{ref}` does not hold here, check `golden`" in stderr
    assert f"it holds on ONNX Runtime 1.17.0, Python 3.10.1, debian 11 aarch64 ({ELSEWHERE.id})" in stderr
    assert proved.releases.current("iris").live == 2


def test_a_rollback_without_an_earlier_live_version_is_refused(lading, proved):
    lading("release", "iris:1")
    code, _, stderr = lading("rollback", "iris")
    assert code == 3
    assert "a version that was live before" in stderr


def test_a_rollback_across_signatures_is_not_held_up_but_says_what_callers_may_notice(
    lading, proved, tmp_path
):
    push_proved(proved, linear_bundle(tmp_path / "narrow", features=3))
    record_evidence(proved, "iris:3", fingerprint())
    lading("release", "iris:1")
    lading("release", "iris:3", "--force")
    code, _, stderr = lading("rollback", "iris")
    assert code == 0, stderr
    assert "differs from `iris:3`: input `X`, shape: [batch, 3] → [batch, 4]\n" in stderr
