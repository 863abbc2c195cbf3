"""The hub with an access file: keys sign people in, roles say what they may do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from lading.access.file import AccessFile
from lading.access.gate import Gate
from lading.hub.access.by_file import FileAccess
from lading.release import Plan
from support.access_files import Keys
from support.hub_person import ORIGIN, Form, Person, app_of
from support.rollout_processes import two_versions

KEYS = Keys()
KEYS.add("ann", "read", "release")
KEYS.add("bob", "read")
KEYS.add("cem", "read", "release", more='models = ["fraud"]')
KEYS.add("dee", "predict")


@pytest.fixture
def gate() -> Gate:
    return KEYS.gate()


@pytest.fixture
def app(registry, gate) -> object:
    return app_of(registry, FileAccess(gate))


def ask(app: object, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    async def answer() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as client:
            return await client.get(path, headers=headers)

    return asyncio.run(answer())


def signed_in(app: object, name: str) -> Person:
    person = Person(app)
    form = Form(person.get("/sign-in").text)
    assert "name" not in form.fields
    answer = person.post("/sign-in", {**form.fields, "key": KEYS.by_name[name]})
    assert answer.status_code == 303, answer.text
    return person


def test_pages_lead_to_the_form_and_programs_get_a_401(app):
    assert ask(app, "/").headers["location"] == "/sign-in"
    assert ask(app, "/models").status_code == 303
    answer = ask(app, "/api/home")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="lading"'
    assert ask(app, "/health").status_code == 200
    assert ask(app, "/sign-in").status_code == 200


def test_a_program_reads_with_a_key(app):
    assert ask(app, "/api/home", KEYS.header("bob")).status_code == 200
    assert ask(app, "/api/home", KEYS.header("dee")).status_code == 403
    assert ask(app, "/api/home", KEYS.header("cem")).status_code == 403
    assert ask(app, "/api/home", {"authorization": "Bearer lading_x"}).status_code == 401


def test_a_person_has_the_name_of_the_key(app):
    page = signed_in(app, "bob").get("/").text
    assert "bob" in page


def test_a_key_that_is_taken_out_of_the_file_ends_its_session(app, gate):
    ann = signed_in(app, "ann")
    assert ann.get("/").status_code == 200
    text = "".join(part for part in KEYS.text.split("[[keys]]") if '"ann"' not in part)
    gate.replace(AccessFile.parse("[[keys]]".join(["", *KEYS.text.split("[[keys]]")[2:]]) or text))
    assert ann.get("/").status_code == 303


def test_the_role_decides_who_may_act(gate):
    access = FileAccess(gate)
    may = {name: (access.may_act(name, "iris"), access.may_act(name, "fraud")) for name in KEYS.by_name}
    assert may == {"ann": (True, True), "bob": (False, False), "cem": (False, True), "dee": (False, False)}
    assert not access.may_act("nobody", "iris")


def routes(app: object) -> Iterator[str]:
    inner = app
    while not hasattr(inner, "routes"):
        inner = inner.app
    for route in inner.routes:
        yield getattr(route, "path", "")


def test_no_route_but_those_of_signing_in_answers_who_has_not_signed_in(app):
    opened = set()
    for path in routes(app):
        example = path.replace("{version:int}", "1").replace("{id:path}", "x").replace("{file}", "x")
        for name in ("name", "id", "language"):
            example = example.replace(f"{{{name}}}", "iris")
        if ask(app, example).status_code not in (303, 401) or path.startswith("/language"):
            opened.add(path)
    assert opened == {"/sign-in", "/sign-out", "/health", "/static/{file}", "/language/{language}"}


@pytest.mark.slow
def test_who_may_release_a_model_acts_on_it_and_the_history_has_the_name(tmp_path):
    registry = two_versions(str(tmp_path / "acting"))
    registry.releases.begin("iris", 2, Plan(mode="canary", steps=(5, 25)), actor="ada")
    app = app_of(registry, FileAccess(KEYS.gate()))
    try:
        refused = signed_in(app, "bob").act("pause")
        assert refused.status_code == 403
        assert "does not let you change releases of this model" in refused.text
        assert registry.releases.current("iris").state == "running"
        assert signed_in(app, "ann").act("pause").status_code == 303
        assert registry.releases.current("iris").state == "paused"
        assert list(registry.releases.events("iris"))[-1].actor == "ann"
    finally:
        registry.catalog.close()
