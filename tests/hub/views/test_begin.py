"""A version is released on its page: how it goes live, what it replaces, and what stands in its way."""

from __future__ import annotations

import pytest

from lading.release import Plan
from support.hub_pages import text_of
from support.hub_person import Form, Person, app_of

CANARY = Plan(mode="canary", steps=(5, 25))
PAGE = "/models/iris/2/release"


@pytest.fixture
def ann(registry, push) -> Person:
    """Return a person at a hub with two versions, the first of them live."""
    for _ in range(2):
        push()
    registry.release("iris:1", actor="ada")
    return Person(app_of(registry), "ann")


def send(person: Person, path: str = PAGE, **changes: str):
    form = Form(person.get(path).text)
    assert form.action == path
    return person.post(form.action, {**form.fields, **changes})


@pytest.mark.slow
def test_a_version_is_released_step_by_step_on_its_page(registry, ann):
    assert f'href="{PAGE}"' in ann.get("/models/iris/2").text
    page = text_of(ann.get(PAGE))
    assert "live is iris:1" in page
    answer = send(ann, mode="canary", steps="10, 50%", hold="2m", reason="better")
    assert (answer.status_code, answer.headers["location"]) == (303, "/models/iris/release")
    release = registry.releases.current("iris")
    assert (release.candidate, release.plan.steps, release.plan.hold_s) == (2, (10, 50), 120.0)
    assert (release.actor, release.reason) == ("ann", "better")
    assert release.runtime == registry.evidence(registry.resolve("iris:2").digest)[-1].fingerprint.id


@pytest.mark.parametrize(("mode", "state"), [("shadow", "running"), ("live", "live")])
def test_a_version_is_released_as_a_shadow_or_at_once(registry, ann, mode, state):
    # What a form has for a canary does not matter for the others.
    assert send(ann, mode=mode, steps="x", hold="").status_code == 303
    release = registry.releases.current("iris")
    assert (release.plan.mode, release.state) == (mode, state)


def test_the_first_version_of_a_model_goes_live_on_its_page(registry, push):
    push("churn")
    ann = Person(app_of(registry), "ann")
    assert "Nothing is live yet" in text_of(ann.get("/models/churn/1/release"))
    assert send(ann, "/models/churn/1/release").status_code == 303
    assert registry.releases.current("churn").live == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": "25,5"}, "expected rising percentages"),
        ({"steps": "5,²5"}, "expected rising percentages"),
        ({"steps": ""}, "expected rising percentages"),
        ({"hold": "soon"}, "expected a time such as `60s`"),
        ({"hold": "9" * 400}, "expected a time such as `60s`"),
        ({"mode": "ab"}, "expected one of"),
        ({"reason": "x" * 501}, "longer than 500 characters"),
    ],
)
def test_a_plan_that_cannot_be_is_said_and_kept(registry, ann, changes, sentence):
    answer = send(ann, **{"mode": "canary", "reason": "better", **changes})
    assert answer.status_code in (400, 409)
    assert sentence in text_of(answer)
    kept = Form(answer.text).fields
    assert {name: kept[name] for name in changes if name != "mode"} == {
        name: value for name, value in changes.items() if name != "mode"
    }
    assert len(registry.releases("iris")) == 1


@pytest.mark.slow
def test_who_was_slower_reads_what_was_released_meanwhile(registry, push, ann):
    push()
    form = Form(ann.get(PAGE).text)
    registry.release("iris:3", CANARY, actor="ben", reason="mine first")
    answer = ann.post(form.action, {**form.fields, "reason": "better"})
    assert answer.status_code == 409
    page = text_of(answer)
    assert "released 1 → 3 · ben mine first" in page
    assert "iris:3 is on its way, at 5 %. This release takes its place." in page
    again = Form(answer.text)
    assert again.fields["reason"] == "better"
    assert ann.post(again.action, again.fields).status_code == 303
    assert [release.state for release in registry.releases("iris")] == ["running", "superseded", "live"]


def test_the_release_that_is_on_its_way_is_not_begun_again(registry, ann):
    assert send(ann).status_code == 303
    answer = send(ann)
    assert answer.status_code == 409
    assert "expected another one than the current release, found the same" in text_of(answer)
    assert registry.releases.current("iris").epoch == 1


def test_a_version_that_nobody_has_verified_is_not_released(registry, push, ann):
    push(proved=False)
    page = text_of(ann.get("/models/iris/3/release"))
    assert "lading verify iris:3" in page
    form = Form(ann.get(PAGE).text)
    answer = ann.post("/models/iris/3/release", form.fields)
    assert answer.status_code == 409
    assert "expected evidence that it holds on some runtime, found none" in text_of(answer)
    assert registry.releases.current("iris").number == 1


def test_what_callers_would_notice_is_left_to_the_command(registry, push, ann):
    push(features=5)
    answer = send(ann, "/models/iris/3/release")
    assert answer.status_code == 409
    assert "--force" in text_of(answer)
    assert registry.releases.current("iris").number == 1


def test_a_version_that_does_not_exist_has_no_such_page(ann):
    form = Form(ann.get(PAGE).text)
    assert ann.get("/models/iris/9/release").status_code == 404
    assert ann.post("/models/iris/9/release", form.fields).status_code == 404
    assert ann.post("/models/none/1/release", form.fields).status_code == 404
