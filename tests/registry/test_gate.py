"""What lets bundles in: nothing is asked for without a policy, and a policy is judged by what is attested."""

from __future__ import annotations

import pytest

from lading.errors import InvalidSetting, PolicyNotMet
from lading.registry.beside import add_beside
from lading.registry.gate import admit_folder, open_gate
from support.bundles import linear_bundle
from support.signing import policy_file, signature


def test_without_a_policy_anything_is_let_in_and_nobody_vouches(tmp_path):
    assert open_gate("") is None
    assert admit_folder("load", linear_bundle(tmp_path / "iris.bundle"), "") == ()


def test_a_folder_is_let_in_by_what_is_attested_beside_it(tmp_path):
    bundle = linear_bundle(tmp_path / "iris.bundle")
    policy = str(policy_file(tmp_path))
    with pytest.raises(PolicyNotMet, match="is not scored with: expected a signature, found none"):
        admit_folder("batch", bundle, policy)
    add_beside(bundle.path, [signature(bundle)])
    assert admit_folder("batch", bundle, policy) == ("ci",)


def test_a_policy_that_cannot_be_read_lets_nothing_in(tmp_path):
    with pytest.raises(InvalidSetting):
        open_gate(str(tmp_path / "none.toml"))
