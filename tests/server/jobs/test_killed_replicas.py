"""Jobs through two servers that are killed in turn: each result once, in order, with its webhook."""

from __future__ import annotations

import pytest

from support.job_replicas import fleet

WIDE = pytest.mark.wide


@pytest.mark.slow
@pytest.mark.parametrize(
    ("database", "jobs", "kills"),
    [
        ("postgresql", 500, 1),
        ("sqlite", 300, 1),
        pytest.param("postgresql", 10_000, 6, marks=[WIDE, pytest.mark.timeout(1200)]),
        pytest.param("sqlite", 10_000, 6, marks=[WIDE, pytest.mark.timeout(1200)]),
    ],
)
def test_replicas_killed_in_turn_lose_no_job_and_answer_none_twice(request, tmp_path, database, jobs, kills):
    url = str(tmp_path / "registry")
    if database == "postgresql":
        url = request.getfixturevalue("postgres").database()
    with fleet(url, tmp_path) as servers:
        outcome = servers.run(jobs, kill_every_s=0.3 if jobs < 1_000 else 3.0, kills=kills)
    print(outcome)
    assert outcome.states == {"done": jobs}
    assert (outcome.written_more_than_once, outcome.never_written, outcome.wrong_answers) == (0, 0, 0)
    assert outcome.kills == (kills, kills)
    assert outcome.out_of_order == 0
    assert (outcome.webhooks_missing, outcome.wrong_signatures) == (0, 0)
    assert outcome.webhooks_refused > 0
