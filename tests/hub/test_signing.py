"""Signing in: a name for the history and the key, which is neither logged nor repeated."""

from __future__ import annotations

import logging

import pytest

from lading.registry import Registry
from support.hub_pages import text_of
from support.hub_person import KEY, Person, app_of

pytestmark = pytest.mark.slow  # Hundreds of requests to hubs: the fast tests have those of each view.


@pytest.fixture
def app(registry: Registry):
    return app_of(registry)


def test_a_wrong_key_costs_time_and_is_logged_without_it(app, caplog):
    caplog.set_level(logging.INFO, "lading.hub")
    person = Person(app)
    wrong = "wrong-" + KEY
    for _ in range(4):
        assert person.sign_in("ann", wrong).status_code == 401
    answer = person.sign_in("ann")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert "Try again in 1 s" in text_of(answer)
    assert "wrong key number 4 from 127.0.0.1" in caplog.text
    assert KEY not in caplog.text


def test_the_key_in_the_place_of_the_name_is_neither_shown_nor_kept(app, caplog):
    caplog.set_level(logging.INFO, "lading.hub")
    person = Person(app)
    swapped = person.sign_in(KEY, "ann")
    both = person.sign_in(KEY, KEY)
    assert (swapped.status_code, both.status_code) == (401, 400)
    assert KEY not in swapped.text + both.text + caplog.text


@pytest.mark.parametrize("name", ["", " ", "x" * 81, "ann\n", "a\nb", "\u202eann", "a\x1b[31m"])
def test_a_name_that_no_history_could_show_is_refused(app, name):
    answer = Person(app).sign_in(name)
    assert answer.status_code == (303 if name == "ann\n" else 400)


def test_who_signs_in_on_the_way_to_a_release_gets_there(app, registry, push):
    push()
    person = Person(app)
    assert 'href="/sign-in?model=iris&amp;version=1"' in person.get("/models/iris/1/release").text
    answer = person.sign_in("ann", model="iris&version=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/models/iris/1/release")
    for version in ("1/../..", "-1", "1" * 10):
        elsewhere = Person(app).sign_in("ann", model=f"iris&version={version}")
        assert elsewhere.headers["location"] == "/models/iris/release"
