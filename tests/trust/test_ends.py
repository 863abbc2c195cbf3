"""Ends of life: by the cycle that a version belongs to, with the day, or with what no feed says."""

from __future__ import annotations

from lading.trust.components import Component
from lading.trust.ends import cycle_of, ends_of_life
from lading.trust.feeds import Cycle
from support.feeds import NOW, NUMPY, PYTHON_OLD, pypi, read, write


def test_ends_of_life_are_named_with_their_day_and_those_without_an_entry_too(tmp_path):
    write(tmp_path, "python.json", PYTHON_OLD)
    write(tmp_path, "numpy.json", NUMPY)
    python = Component(ecosystem="generic", name="python", version="3.8.2")
    feeds = read(tmp_path)
    components = (python, pypi("numpy", "1.26.4"), pypi("onnxruntime", "1.20.0"))
    ends, unknown = ends_of_life(components, feeds.cycles, NOW.date())
    assert [(each.sentence, each.ended) for each in ends] == [
        ("python 3.8.2: cycle 3.8 ended on 2024-10-07", True),
        ("numpy 1.26.4: cycle 1.26 ended on 2025-09-17", True),
    ]
    assert unknown == {"onnxruntime 1.20.0"}
    ((living,), _) = ends_of_life([pypi("numpy", "2.4.1")], feeds.cycles, NOW.date())
    assert (living.ended, living.sentence) == (False, "numpy 2.4.1: cycle 2.4 has no stated end")


def test_the_cycle_of_a_version_is_the_longest_whose_parts_it_begins_with():
    cycles = [Cycle(product="tables", name=name) for name in ("1", "1.2", "1.20")]
    assert cycle_of("1.20.3+cpu", cycles).name == "1.20"
    assert cycle_of("1.2.0", cycles).name == "1.2"
    assert cycle_of("1.3", cycles).name == "1"
    assert cycle_of("12.0", cycles) is None
