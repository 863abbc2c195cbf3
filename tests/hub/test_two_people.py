"""One release, and several who act on it at once: by page, by command, and the driver."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lading.errors import LadingError
from lading.registry import Registry
from lading.release import Plan, verify_chain
from lading.release.history_check import check_history
from lading.rollout import by_hand
from support.bundles import linear_bundle
from support.hub_pages import text_of
from support.hub_person import Person, app_of
from support.recorded_evidence import push_proved

LONG = Plan(mode="canary", steps=tuple(range(1, 100)), hold_s=3600.0)

# Many rounds each: who is first is up to the threads.
pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request, tmp_path) -> Iterator[Registry]:
    """Yield a registry with two versions that are proved, and version 1 live."""
    url = str(tmp_path / "registry")
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").database()
    with Registry.open(url, store=str(tmp_path / "store")) as opened:
        for seed in (1, 2):
            push_proved(opened, linear_bundle(tmp_path / f"{seed}.bundle", seed=seed))
        opened.releases.begin("iris", 1, actor="ada")
        yield opened


def at_once(*acts: Any) -> list[Any]:
    """Do all acts at the same moment, each in a thread, and return what they return."""
    barrier, answers = threading.Barrier(len(acts)), [None] * len(acts)

    def do(place: int) -> None:
        barrier.wait(30)
        answers[place] = acts[place]()

    threads = [threading.Thread(target=do, args=(place,)) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


def assert_one_history(registry: Registry) -> None:
    events = registry.releases.events("iris")
    assert verify_chain(events) is None
    # Replayed, the events give the very releases that the catalog has: nothing was done past them.
    check_history("iris", events, registry.releases("iris"), None)


@pytest.mark.parametrize("acts", [("promote", "promote"), ("pause", "promote"), ("pause", "pause")])
def test_of_two_people_who_act_at_once_one_does_and_the_other_reads_who_did(registry, acts):
    registry.releases.begin("iris", 2, LONG, actor="ada")
    app = app_of(registry)
    people = [Person(app, "ann"), Person(app, "ben")]
    for turn in range(40):
        forms = [person.form(act) for person, act in zip(people, acts, strict=True)]
        before = registry.releases.current("iris")
        sent = [
            (
                lambda person=person, form=form, turn=turn: person.post(
                    form.action, {**form.fields, "reason": f"turn {turn}"}
                )
            )
            for person, form in zip(people, forms, strict=True)
        ]
        answers = at_once(*sent)
        assert sorted(answer.status_code for answer in answers) == [303, 409]
        first = 0 if answers[0].status_code == 303 else 1
        page = text_of(answers[1 - first])
        assert "Nothing was done, because somebody was quicker" in page
        assert f"· {('ann', 'ben')[first]} turn {turn}" in page
        after = registry.releases.current("iris")
        assert after.epoch == before.epoch + 1
        assert after.step == before.step + (acts[first] == "promote")
        if after.state == "paused":
            assert people[0].act("resume", "").status_code == 303
    assert_one_history(registry)


def test_people_commands_and_the_driver_never_take_a_step_twice(registry):
    registry.releases.begin("iris", 2, LONG, actor="ada")
    app = app_of(registry)
    ann, ben = Person(app, "ann"), Person(app, "ben")
    for _ in range(40):
        step = registry.releases.current("iris")
        seen, goal = by_hand.Meant(step.number), f"{step.plan.steps[step.step + 1]}"
        forms = [person.form("promote") for person in (ann, ben)]

        def command(seen=seen, goal=goal) -> bool:
            try:
                done = by_hand.promote(registry, "iris", seen, to=goal, actor="cli", reason="")
            except LadingError:
                return False
            return done.changed

        def drive(step=step) -> bool:
            from lading.rollout import apply, promoted

            try:
                return bool(apply(registry, step, promoted(step, "driver", "no harm")))
            except LadingError:
                return False

        answers = at_once(
            lambda form=forms[0]: ann.post(form.action, form.fields),
            lambda form=forms[1]: ben.post(form.action, form.fields),
            command,
            drive,
        )
        done = [answer.status_code == 303 for answer in answers[:2]] + answers[2:]
        assert sum(done) == 1, done
        assert registry.releases.current("iris").step == step.step + 1
    assert_one_history(registry)


def test_two_people_who_take_out_and_roll_back_at_once_do_so_once(registry):
    app = app_of(registry)
    ann, ben = Person(app, "ann"), Person(app, "ben")
    for act in ("abort", "rollback") * 10:
        if act == "abort":
            registry.releases.begin("iris", 2, LONG, actor="ada")
        else:
            registry.releases.begin("iris", 2, actor="ada")
        forms = [person.form(act) for person in (ann, ben)]
        answers = at_once(
            *(
                lambda person=person, form=form: person.post(form.action, {**form.fields, "reason": "harm"})
                for person, form in zip((ann, ben), forms, strict=True)
            )
        )
        assert sorted(answer.status_code for answer in answers) == [303, 409], act
        (slower,) = [answer for answer in answers if answer.status_code == 409]
        assert "rolled back" in text_of(slower)
        assert registry.releases.current("iris").live == 1
    assert_one_history(registry)


def test_a_page_and_a_command_line_act_on_one_release(registry, tmp_path):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LADING_")}
    url = registry.where if "://" in registry.where else str(tmp_path / "registry")
    engine = registry.catalog.database.engine
    if engine.dialect.name == "postgresql":
        url = engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    environ |= {"LADING_REGISTRY": url, "LADING_STORE": str(tmp_path / "store"), "LADING_ACTOR": "cli"}

    def lading(line: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "lading", *line.split()]
        return subprocess.Popen(
            command, env=environ, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def must(line: str) -> None:
        process = lading(line)
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr

    registry.releases.begin("iris", 2, LONG, actor="ada")
    ann = Person(app_of(registry), "ann")
    # In turns: what one does, the other finds done.
    form = ann.form("pause")
    must("rollout pause iris --release 2 --reason lunch")
    answer = ann.post(form.action, {**form.fields, "reason": "mine"})
    assert (answer.status_code, "paused · cli lunch" in text_of(answer)) == (409, True)
    assert ann.act("resume").status_code == 303
    must("rollout promote iris --release 2 --to 2")
    assert ann.act("promote").status_code == 303
    slower = lading("rollout promote iris --release 2 --to 2")
    assert "expected its next step, 4 %, found `--to 2`" in " ".join(
        slower.communicate(timeout=120)[1].split()
    )
    # At once: the page is pressed again and again while the command starts.
    for goal in range(4, 7):
        form = ann.form("promote")
        process = lading(f"rollout promote iris --release 2 --to {goal}")
        taken = itertools.count()
        while process.poll() is None:
            if ann.post(form.action, form.fields).status_code == 303:
                next(taken)
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
        pressed = next(taken)
        assert ("nothing was changed" in stderr) == bool(pressed)
        assert (pressed, registry.releases.current("iris").weight_percent) in ((0, goal), (1, goal))
    assert ann.act("abort", "enough").status_code == 303
    must("release iris:2")
    assert ann.act("rollback", "complaints").status_code == 303
    again = lading("rollback iris --release 3 --reason mine")
    assert "by `ann`" in again.communicate(timeout=120)[1]
    assert again.returncode != 0
    assert registry.releases.current("iris").live == 1
    assert_one_history(registry)
