"""Other versions of packages, in real environments of wheels that are made here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lading.errors import CodeNotAllowed, NotSupported, RequirementsRefused, VerificationError
from lading.runtime.python.host import PythonHost
from lading.verify.upgrade import bisect, judged, try_upgrade
from support.bundles import linear_bundle
from support.moving_packages import moving_bundle, tiny


@pytest.fixture
def bundle(tmp_path):
    return moving_bundle(tmp_path / "doubled.bundle", tmp_path / "wheels")


@pytest.fixture
def host(tmp_path):
    return PythonHost(allow="code", wheels=tmp_path / "wheels", environments=tmp_path / "environments")


def ignore(_):
    pass


@pytest.mark.slow
def test_an_upgrade_says_whether_the_answers_stay_and_what_had_to_move(bundle, host):
    tiny(host.wheels, "tiny-bias", "1.1", "0.00001", requires=("tiny-noise>=1.1",))
    tiny(host.wheels, "tiny-noise", "1.1", "0")
    tiny(host.wheels, "tiny-scale", "2.0", "3")
    tiny(host.wheels, "tiny-noise", "2.0", "0", broken=True)
    digest = bundle.digest
    equal = try_upgrade(bundle, ["tiny-noise==1.1"], host, ignore)
    assert (equal.trial.answers, [str(change) for change in equal.changes]) == (
        "equal",
        ["tiny-noise 1.0 → 1.1"],
    )
    within = try_upgrade(bundle, ["tiny-bias==1.1", "tiny-noise<2"], host, ignore)
    assert within.trial.answers == "within"
    assert within.trial.parity is not None
    assert within.trial.parity.max_abs_error == pytest.approx(1e-5, rel=0.1)
    assert "row 2" in within.trial.worst
    assert [change.name for change in within.changes] == ["tiny-bias", "tiny-noise"]
    other = try_upgrade(bundle, ["tiny-scale"], host, ignore)
    assert other.trial.answers == "other"
    assert "row 1: expected 14.0, found 21.0" in other.trial.worst
    fails = try_upgrade(bundle, ["tiny-noise==2.0"], host, ignore)
    assert fails.trial.answers == "fails"
    assert "made for a newer numpy" in fails.trial.worst
    with pytest.raises(RequirementsRefused, match="tiny-scale==9"):
        try_upgrade(bundle, ["tiny-scale==9"], host, ignore)
    # The wheel of a package that stays is the one that was proved.
    tiny(host.wheels, "tiny-bias", "1.0", "0.0")
    unbuilt = try_upgrade(bundle, ["tiny-scale"], replace(host, environments=host.wheels / "new"), ignore)
    assert unbuilt.trial.answers == "unbuilt"
    assert "tiny-bias==1.0" in unbuilt.trial.worst
    assert type(bundle).open(bundle.path).digest == digest


@pytest.mark.slow
def test_bisection_names_the_package_that_changes_the_answers(bundle, host):
    tiny(host.wheels, "tiny-scale", "2.0", "3", requires=("tiny-noise>=1.1",))
    tiny(host.wheels, "tiny-bias", "2.0", "0.0")
    tiny(host.wheels, "tiny-noise", "1.1", "0")
    result = bisect(bundle, [], host, ignore)
    assert [change.name for change in result.whole.changes] == ["tiny-bias", "tiny-noise", "tiny-scale"]
    # The one cannot be installed without the other, and so the two cannot be held apart.
    assert [change.name for change in result.causes] == ["tiny-noise", "tiny-scale"]
    assert result.alone is not None
    assert "expected 14.0, found 21.0" in result.alone.worst
    assert result.rest is not None
    assert result.rest.answers == "equal"
    reasons = {tuple(change.name for change in moved): reason for moved, reason in result.untried}
    assert "go together" in reasons["tiny-scale",]
    # What was built to try is gone; the two that have a use stay.
    kept = [path.name[:64] for path in host.environments.iterdir() if path.name != "building"]
    locks = [bundle.lock(), result.whole.lock]
    assert sorted(kept) == sorted(lock.digest.removeprefix("sha256:") for lock in locks)
    same = bisect(bundle, ["tiny-noise"], host, ignore)
    assert (same.whole.trial.answers, same.causes) == ("equal", ())


@pytest.mark.slow
def test_a_bundle_that_does_not_hold_with_its_own_lock_is_not_bisected(bundle, host, tmp_path):
    forged = moving_bundle(tmp_path / "forged", tmp_path / "forged-wheels", factor="5")
    tiny(tmp_path / "forged-wheels", "tiny-noise", "1.1", "0")
    with pytest.raises(VerificationError, match="with its own environment") as refused:
        bisect(forged, [], replace(host, wheels=tmp_path / "forged-wheels"), ignore)
    assert "row 1" in str(refused.value)


def test_without_leave_nothing_is_resolved_and_a_bundle_without_an_environment_is_refused(bundle, tmp_path):
    host = PythonHost(wheels=tmp_path / "none", environments=tmp_path / "environments")
    with pytest.raises(CodeNotAllowed):
        try_upgrade(bundle, ["tiny-scale"], host, ignore)
    with pytest.raises(NotSupported, match="found a model that ONNX Runtime runs by itself"):
        bisect(linear_bundle(tmp_path / "iris"), [], host, ignore)
    assert not (tmp_path / "environments").exists()


@pytest.mark.parametrize(
    ("answers", "whole", "verdict"),
    [
        ("other", "other", "differs"),
        ("within", "other", "same"),
        ("fails", "other", "unknown"),
        ("unbuilt", "other", "unknown"),
        ("within", "within", "differs"),
        ("other", "within", "differs"),
        ("equal", "within", "same"),
        ("fails", "fails", "differs"),
        ("other", "fails", "same"),
        ("unbuilt", "fails", "unknown"),
    ],
)
def test_a_mixture_makes_the_difference_that_is_looked_for_or_not_or_says_nothing(answers, whole, verdict):
    assert judged(answers, whole) == verdict
