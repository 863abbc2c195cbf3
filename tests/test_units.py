"""Numbers with their units, as people read them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lading import units


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (3900, "65 min"), (9000, "2 h 30 min")],
)
def test_a_duration_has_the_units_that_people_use(seconds, text):
    assert units.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.000412, "0.412 ms"),
        (0.0123, "12.3 ms"),
        (0.123, "123 ms"),
        (0.99951, "1.00 s"),
        (12.34, "12.3 s"),
    ],
)
def test_a_latency_has_three_digits(seconds, text):
    assert units.latency(seconds) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (1_400_000, "1.4 MB"), (5e15, "5000.0 TB")],
)
def test_sizes_have_a_unit(size_bytes, text):
    assert units.size(size_bytes) == text


@pytest.mark.parametrize(("share", "text"), [(None, "–"), (0.0, "0.00 %"), (0.12345, "12.35 %")])
def test_a_share_is_a_percentage_and_an_unknown_one_is_not_zero(share, text):
    assert units.percent(share) == text


@pytest.mark.parametrize(("weight", "text"), [(5.0, "5"), (12.5, "12.5"), (100, "100"), (33.333, "33.3")])
def test_a_weight_has_the_digits_that_it_has(weight, text):
    assert units.weight(weight) == text


def test_a_digest_is_as_short_as_people_compare():
    assert units.short_digest("sha256:" + "0123456789abcdef" * 4) == "sha256:0123456789ab"


def test_the_module_brings_no_library():
    code = "import sys, lading.units; print([name for name in ('numpy', 'msgspec') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
