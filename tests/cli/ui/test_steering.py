"""A move of a release by hand."""

from __future__ import annotations

import json

from lading.cli.ui.steering import act_by_hand
from lading.release import Plan
from lading.rollout.by_hand import Meant, pause, promote


def test_an_act_is_done_to_the_current_release_and_the_next_command_named(proved, filled, capsys):
    proved.releases.begin("iris", 1, Plan(mode="live"), actor="ada")
    proved.releases.begin("iris", 2, Plan(mode="canary", steps=(5,)), actor="ada")

    def lunch(registry):
        return pause(registry, "iris", Meant(), actor="grace", reason="lunch")

    act_by_hand(str(filled), lunch, as_json=True)
    output = capsys.readouterr()
    assert json.loads(output.out)["release"]["state"] == "paused"
    assert "next: lading rollout watch iris" in output.err
    act_by_hand(str(filled), lunch, as_json=False)
    assert "nothing was changed" in capsys.readouterr().err

    def live(registry):
        return promote(registry, "iris", Meant(2), to="live", actor="grace", reason="")

    act_by_hand(str(filled), live, as_json=False)
    assert "next: lading history iris" in capsys.readouterr().err
    assert proved.releases.current("iris").live == 2
