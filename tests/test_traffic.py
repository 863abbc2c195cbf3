"""Windows of live traffic."""

from __future__ import annotations

import itertools

from lading.traffic import LATENCY_BOUNDS_S, Window


def test_latency_bins_are_even_and_cover_all():
    assert (LATENCY_BOUNDS_S[0], LATENCY_BOUNDS_S[-1], len(LATENCY_BOUNDS_S)) == (50e-6, 60.0, 40)
    ratios = [high / low for low, high in itertools.pairwise(LATENCY_BOUNDS_S)]
    assert 1.42 < min(ratios) < max(ratios) < 1.45


def test_every_window_has_an_id_of_its_own():
    fields = {
        "name": "iris",
        "release": 1,
        "version": 1,
        "digest": "",
        "replica": "a",
        "at": 0.0,
        "seconds": 1.0,
    }
    assert Window(**fields).id != Window(**fields).id
