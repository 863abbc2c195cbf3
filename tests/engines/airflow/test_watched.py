"""A release that somebody waits for: asked for by its number, and concluded by its state."""

from __future__ import annotations

import logging
import sys

import pytest
from airflow.sdk.exceptions import AirflowFailException

from lading.airflow.watched import WatchedRelease, conclude

LOG = logging.getLogger("waits")
ENDED = {"name": "iris", "number": 7, "reason": ""}


def test_a_look_says_how_far_the_release_is(canary, caplog):
    watched = WatchedRelease("iris", 2, [sys.executable, "-m", "lading"], {"LADING_REGISTRY": canary})
    with caplog.at_level(logging.INFO, logger="waits"):
        assert watched.look(LOG) is None
    assert "release 2: `iris:2` gets 10 % of requests" in caplog.messages


def test_only_a_release_that_is_live_is_a_success():
    live = ENDED | {"state": "live"}
    assert conclude(live) is live
    for state, words in (
        ("rolled_back", "rolled back"),
        ("refused", "refused"),
        ("superseded", "superseded"),
    ):
        with pytest.raises(AirflowFailException) as raised:
            conclude(ENDED | {"state": state})
        assert str(raised.value) == f"release 7 of `iris`: expected it to go live, found it {words}"
