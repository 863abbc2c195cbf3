"""Moments on the command line, and a log whose libraries are not installed."""

from __future__ import annotations

import time

import click
import pytest

from lading.cli.ui.log_options import MomentType
from support.predictions import NOON


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5d", 129_600), ("1w", 604_800)]
)
def test_a_span_is_before_now(text, seconds):
    assert MomentType().convert(text, None, None) == pytest.approx(time.time() - seconds, abs=5)


@pytest.mark.parametrize(
    "text", ["2026-11-30T12:00:00", "2026-11-30 12:00", "2026-11-30T12:00:00Z", "2026-11-30T14:00:00+02:00"]
)
def test_an_iso_time_is_in_utc_unless_it_says_otherwise(text):
    assert MomentType().convert(text, None, None) == NOON


@pytest.mark.parametrize("text", ["yesterday", "2 hours", "-1h", ""])
def test_anything_else_is_refused(text):
    with pytest.raises(click.BadParameter, match="expected a span such as `2h`"):
        MomentType().convert(text, None, None)
