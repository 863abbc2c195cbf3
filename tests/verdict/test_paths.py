"""How evidence came to be what it is: the path ends where the verdict stands, and keeps what convicted."""

from __future__ import annotations

import pytest

from lading.verdict import judge, judge_with_paths
from lading.verdict.paths import GatePath, PathPoint, thinned
from support.live_windows import CANARY, LIVE, START, windows


def paths(**bad):
    verdict, ways = judge_with_paths({}, LIVE, windows(2, 50, **bad), START + 120, START, CANARY)
    return verdict, {way.gate: way for way in ways}


@pytest.mark.parametrize("bad", [{}, {"error": 0.03}])
def test_a_path_ends_where_the_verdict_stands(bad):
    verdict, ways = paths(**bad)
    assert verdict == judge({}, LIVE, windows(2, 50, **bad), START + 120, START, CANARY)
    for gate, way in ways.items():
        last = way.points[-1]
        assert max(point.e_value for point in way.points) == pytest.approx(
            max(1.0, verdict.numbers[f"{gate}.harm_e_value"]), rel=0.6
        )
        assert last.kept == pytest.approx(verdict.numbers[f"{gate}.proof"])
        assert way.threshold == pytest.approx(verdict.numbers[f"{gate}.harm_threshold"])


def test_a_candidate_is_convicted_where_its_path_reaches_the_threshold():
    verdict, ways = paths(error=0.03)
    assert verdict.action == "roll_back"
    errors = ways["max_error_increase"]
    first = next(point for point in errors.points if point.harm >= 1)
    assert first.e_value >= errors.threshold
    until = [
        judge({}, *(_up_to(each, at) for each in (LIVE, windows(2, 50, error=0.03))), at, START, CANARY)
        for at in (first.at - 1, first.at)
    ]
    assert [
        any("errors" in reason for reason in each.reasons if "certain beyond" in reason) for each in until
    ] == [
        False,
        True,
    ]


def _up_to(drawn, at):
    return [window for window in drawn if window.at <= at]


def test_times_rise_within_the_step():
    _, ways = paths()
    for way in ways.values():
        times = [point.at for point in way.points]
        assert times == sorted(set(times))
        assert START <= times[0] <= times[-1] < START + 120


def test_a_gate_without_traffic_has_no_points():
    _, ways = judge_with_paths({}, [], [], START + 5, START, CANARY)
    assert {len(way.points) for way in ways} == {0}


def test_a_thinned_path_keeps_its_end_and_what_convicted():
    points = [PathPoint(float(at), 1.0, 1.2 if at == 501 else 0.1, 0.5) for at in range(1000)]
    few = thinned(GatePath(gate="max_error_increase", threshold=480.0, points=points), 50)
    assert len(few.points) == 50
    assert few.points[-1] == points[-1]
    assert points[501] in few.points
    assert [point.at for point in few.points] == sorted({point.at for point in few.points})
    assert thinned(few, 50) is few
