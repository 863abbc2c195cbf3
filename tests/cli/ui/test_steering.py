"""A move of a release by hand."""

from __future__ import annotations

import json

from lading.cli.ui.steering import apply_by_hand
from lading.release import Plan
from lading.rollout import paused, promoted


def test_a_move_is_applied_to_the_current_release_and_the_next_command_named(proved, filled, capsys):
    proved.releases.begin("iris", 1, Plan(mode="live"), actor="ada")
    proved.releases.begin("iris", 2, Plan(mode="canary", steps=(5,)), actor="ada")
    apply_by_hand("iris", str(filled), lambda release: paused(release, "grace", "lunch"), as_json=True)
    output = capsys.readouterr()
    assert json.loads(output.out)["release"]["state"] == "paused"
    assert "next: lading rollout watch iris" in output.err
    apply_by_hand("iris", str(filled), lambda release: promoted(release, "grace", ""), as_json=False)
    assert "next: lading history iris" in capsys.readouterr().err
    assert proved.releases.current("iris").live == 2
