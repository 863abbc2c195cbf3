"""What people do on pages: sign in, act on a release with a reason, and see what others did first."""

from __future__ import annotations

import logging
import re

import pytest

from lading.errors import RegistryUnavailable
from lading.hub.access import SESSION_S, Access
from lading.registry import Registry
from lading.release import Plan, verify_chain
from support.hub_pages import text_of
from support.hub_person import KEY, Form, Person, app_of
from support.read_only import read_only
from support.rollout_processes import two_versions

pytestmark = pytest.mark.slow  # Hundreds of requests to hubs: the fast tests have those of each view.

CANARY = Plan(mode="canary", steps=(5, 25))
PAGE = "/models/iris/release"


@pytest.fixture
def registry(tmp_path):
    """Yield a registry in which release 2 sends 5 % of requests to version 2."""
    opened = two_versions(str(tmp_path / "registry"))
    opened.releases.begin("iris", 2, CANARY, actor="ada")
    yield opened
    opened.catalog.close()


@pytest.fixture
def app(registry):
    return app_of(registry)


@pytest.fixture
def ann(app) -> Person:
    return Person(app, "ann")


def state(registry) -> tuple[str, float]:
    release = registry.releases.current("iris")
    return release.state, release.weight_percent


def test_without_a_key_pages_change_nothing_and_say_how_they_would(registry):
    reader = Person(app_of(registry, Access()))
    page = reader.get(PAGE)
    assert "This hub has no key" in text_of(page)
    assert "lading hub --key-file FILE" in text_of(page)
    assert "lading rollout promote iris --release 2 --to 25" in text_of(page)
    assert "form" not in page.text
    assert "This hub has no key" in text_of(reader.get("/sign-in"))
    assert "set-cookie" not in reader.get("/sign-in").headers
    for path in ("/sign-in", "/sign-out", f"{PAGE}/pause"):
        answer = reader.post(path, {"name": "ann", "key": KEY, "release": "2", "change": "1", "event": "2"})
        assert answer.status_code == 403
        assert "lading hub --key-file FILE" in text_of(answer)
    assert state(registry) == ("running", 5.0)


def test_who_is_not_signed_in_is_led_there_and_back(registry, app):
    person = Person(app)
    assert 'href="/sign-in?model=iris"' in person.get(PAGE).text
    assert Form(person.get(f"{PAGE}/pause").text).action == ""
    answer = person.sign_in("ann", model="iris")
    assert (answer.status_code, answer.headers["location"]) == (303, PAGE)
    page = person.get(PAGE)
    assert "ann Sign out" in text_of(page)
    assert re.findall(r'href="/models/iris/release/(\w+)\?', page.text) == ["promote", "pause", "abort"]


def test_a_release_is_paused_resumed_promoted_and_rolled_back_by_page(registry, ann, caplog):
    caplog.set_level(logging.INFO, "lading.hub")
    for act, expected in (
        ("pause", ("paused", 5.0)),
        ("resume", ("running", 5.0)),
        ("promote", ("running", 25.0)),
        ("promote", ("live", 0.0)),
        ("rollback", ("live", 0.0)),
    ):
        answer = ann.act(act, f"{act} it")
        assert (answer.status_code, answer.headers["location"]) == (303, PAGE), text_of(answer)
        assert state(registry) == expected
        assert f"ann {act} it" in text_of(ann.get(PAGE))
    assert registry.releases.current("iris").live == 1
    events = registry.releases.events("iris")
    kinds = ["released", "released", "paused", "resumed", "step", "promoted", "rolled_back"]
    assert [event.kind for event in events] == kinds
    assert [(event.actor, event.reason) for event in events[-2:]] == [
        ("ann", "promote it"),
        ("ann", "rollback it"),
    ]
    assert verify_chain(events) is None
    assert "ann: promote of release 2 of iris" in caplog.text


def test_a_candidate_is_taken_out_by_page(registry, ann):
    page = text_of(ann.get(f"{PAGE}/abort"))
    assert "iris:2 gets no more requests, whatever its share is by now; iris:1 stays live" in page
    assert ann.act("abort").status_code == 303
    assert state(registry) == ("rolled_back", 0.0)
    assert "What can be done" not in text_of(ann.get(PAGE))


def test_a_shadow_goes_live_by_page(registry, ann):
    registry.releases.begin("iris", 2, Plan(mode="shadow"), actor="ada")
    assert "iris:2 goes live, in place of iris:1" in text_of(ann.get(f"{PAGE}/promote"))
    assert ann.act("promote", "").status_code == 303
    assert registry.releases.current("iris").live == 2


@pytest.mark.parametrize("act", ["pause", "abort"])
@pytest.mark.parametrize("reason", ["", " \t", "x" * 501, "a\0b"])
def test_an_act_without_a_reason_that_can_be_kept_is_not_done(registry, ann, act, reason):
    answer = ann.act(act, reason)
    assert answer.status_code == 400
    assert state(registry) == ("running", 5.0)
    if len(reason) > 500:
        assert "longer than 500 characters" in text_of(answer)
        assert Form(answer.text).fields["reason"] == reason


def test_a_reason_keeps_its_characters_and_pages_show_them_as_text(registry, ann):
    reason = "<b>wrong</b> \u202edata\x1b[31m 학습 데이터 오류 " + "x" * 400
    assert ann.act("pause", reason).status_code == 303
    assert registry.releases.last_events("iris", 1)[0].reason == reason
    page = ann.get(PAGE).text
    assert "&lt;b&gt;wrong&lt;/b&gt; \\u202edata\\x1b[31m 학습 데이터 오류" in page


def test_a_form_that_is_sent_twice_takes_one_step(registry, ann):
    form = ann.form("promote")
    assert ann.post(form.action, form.fields).status_code == 303
    again = ann.post(form.action, form.fields)
    assert again.status_code == 409
    assert "Nothing was done, because somebody was quicker" in text_of(again)
    assert state(registry) == ("running", 25.0)


def test_the_second_sees_what_the_first_did_and_what_he_typed_is_not_lost(registry, app, ann):
    ben = Person(app, "ben")
    theirs = ben.form("promote")
    ann.act("pause", "latencies look odd")
    answer = ben.post(theirs.action, {**theirs.fields, "reason": "seen enough"})
    assert answer.status_code == 409
    page = text_of(answer)
    assert "Nothing was done, because somebody was quicker" in page
    assert "paused · ann latencies look odd" in page
    assert "How it stands now paused iris:2 5 %" in page
    assert state(registry) == ("paused", 5.0)
    # Its form is over what the page shows now: who confirms it again means that.
    form = Form(answer.text)
    assert form.fields["reason"] == "seen enough"
    assert ben.post(form.action, form.fields).status_code == 303
    assert state(registry) == ("running", 25.0)


def test_a_page_that_was_led_to_from_an_older_one_says_what_happened_meanwhile(registry, ann):
    (link,) = re.findall(r'href="(/models/iris/release/promote\?[^"]+)"', ann.get(PAGE).text)
    assert "What happened meanwhile" not in text_of(ann.get(link.replace("&amp;", "&")))
    registry.releases.abort("iris", actor="driver", reason="too many errors")
    page = text_of(ann.get(link.replace("&amp;", "&")))
    assert "What happened meanwhile" in page
    assert "rolled back 2 → 1 · driver too many errors" in page
    assert "This is not possible in the present state of the release" in page


def test_two_people_who_roll_back_go_back_once(registry, app, ann):
    ann.act("promote")
    ann.act("promote")
    ben = Person(app, "ben")
    theirs = ben.form("rollback")
    assert "iris:1 is live again at once, in place of iris:2" in text_of(ben.get(f"{PAGE}/rollback"))
    assert ann.act("rollback", "complaints").status_code == 303
    answer = ben.post(theirs.action, {**theirs.fields, "reason": "me too"})
    assert answer.status_code == 409
    assert "rolled back 2 → 1 · ann complaints" in text_of(answer)
    # What she brought back is not taken away by the next one.
    assert "expected a release that is no rollback itself" in text_of(answer)
    assert Form(answer.text).action == ""
    assert len(registry.releases("iris")) == 3


def test_who_takes_out_what_is_out_already_reads_who_did(registry, app, ann):
    ben = Person(app, "ben")
    theirs = ben.form("abort")
    ann.act("abort", "wrong data")
    answer = ben.post(theirs.action, {**theirs.fields, "reason": "out"})
    assert answer.status_code == 409
    assert "rolled back 2 → 1 · ann wrong data" in text_of(answer)
    assert [event.kind for event in registry.releases.events("iris")].count("rolled_back") == 1


def test_a_candidate_is_taken_out_although_the_driver_has_taken_a_step(registry, ann):
    form = ann.form("abort")
    release = registry.releases.current("iris")
    from lading.rollout import apply, promoted

    apply(registry, release, promoted(release, "driver", "no harm"))
    assert ann.post(form.action, {**form.fields, "reason": "harm"}).status_code == 303
    assert state(registry) == ("rolled_back", 0.0)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RegistryUnavailable("registry", expected="an answer", found="none"), "It is not known whether"),
        (ZeroDivisionError("secret"), "Something went wrong"),
    ],
)
def test_what_was_typed_is_not_lost_if_the_registry_does_not_take_it(
    registry, ann, monkeypatch, error, sentence
):
    form = ann.form("pause")

    def broken(*_, **__):
        raise error

    monkeypatch.setattr(type(registry.releases), "change", broken)
    answer = ann.post(form.action, {**form.fields, "reason": "lunch"})
    assert answer.status_code == (500 if isinstance(error, ZeroDivisionError) else 503)
    assert sentence in text_of(answer)
    assert "secret" not in answer.text
    again = Form(answer.text)
    assert again.fields["reason"] == "lunch"
    monkeypatch.undo()
    assert ann.post(again.action, again.fields).status_code == 303
    assert state(registry) == ("paused", 5.0)


def test_a_form_is_kept_although_nothing_at_all_can_be_read(registry, app, monkeypatch):
    form = Person(app, "ann").form("pause")
    other = app_of(registry)
    ann = Person(other, "ann")

    def broken(*_, **__):
        raise RegistryUnavailable("registry", expected="an answer", found="none")

    for method in ("__call__", "current", "last_events"):
        monkeypatch.setattr(type(registry.releases), method, broken)
    answer = ann.post(
        form.action, {**form.fields, "token": Form(ann.get("/sign-in").text).fields["token"], "reason": "x"}
    )
    assert answer.status_code == 503
    assert "expected an answer, found none" in text_of(answer)
    kept = Form(answer.text).fields
    assert (kept["reason"], kept["release"], kept["change"]) == ("x", "2", "1")


def test_a_registry_that_can_only_be_read_takes_nothing_and_the_page_says_so(registry, tmp_path):
    registry.catalog.close()
    with (
        read_only(tmp_path / "registry", tmp_path / "mounted") as mounted,
        Registry.open(str(mounted), store=str(tmp_path / "store")) as opened,
    ):
        ann = Person(app_of(opened), "ann")
        answer = ann.act("pause", "lunch")
        assert answer.status_code == 503
        assert "the registry can only be read here" in text_of(answer)
        assert Form(answer.text).fields["reason"] == "lunch"
        assert state(opened) == ("running", 5.0)


@pytest.mark.slow
def test_while_the_database_is_gone_what_was_typed_is_kept_and_then_done_once(postgres, tmp_path):
    registry = two_versions(postgres.database())
    registry.releases.begin("iris", 2, CANARY, actor="ada")
    ann = Person(app_of(registry), "ann")
    form = ann.form("pause")
    postgres.stop()
    try:
        answer = ann.post(form.action, {**form.fields, "reason": "lunch"})
    finally:
        postgres.start()
    assert answer.status_code == 503
    assert "It is not known whether it was done" in text_of(answer)
    again = Form(answer.text)
    assert again.fields["reason"] == "lunch"
    assert ann.post(again.action, again.fields).status_code == 303
    assert ann.post(again.action, again.fields).status_code == 409
    assert [event.kind for event in registry.releases.events("iris")] == ["released", "released", "paused"]
    registry.catalog.close()


def test_a_session_ends_and_what_was_typed_stays(registry):
    now = [1_000_000.0]
    ann = Person(app_of(registry, Access(KEY, lambda: now[0])), "ann")
    form = ann.form("pause")
    now[0] += SESSION_S
    answer = ann.post(form.action, {**form.fields, "reason": "my long story"})
    assert answer.status_code == 401
    assert "You are not signed in" in text_of(answer)
    assert "my long story" in text_of(answer)
    assert state(registry) == ("running", 5.0)


def test_who_signs_out_leaves_a_cookie_that_is_worth_nothing(registry, ann):
    form = ann.form("pause")
    stolen = dict(ann.cookies)
    answer = ann.post("/sign-out", {"token": form.fields["token"]})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "ann" not in text_of(ann.get("/"))
    for name, value in stolen.items():
        ann.cookies.set(name, value)
    assert ann.post(form.action, {**form.fields, "reason": "x"}).status_code == 401


def test_the_api_only_reads(ann, app):
    for act in ("promote", "pause", "resume", "abort", "rollback"):
        assert ann.post(f"/api/models/iris/release/{act}", {}).status_code == 405
    data = ann.get("/api/models/iris/release/pause").json()["data"]
    assert (data["act"], data["possible"], data["seen"]["change"]) == ("pause", True, 1)
    assert ann.get("/api/models/iris/release/pause").text.count("token") == 0
